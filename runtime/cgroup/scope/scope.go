// Package scope finds a place for an engine's cgroups, and moves the engine and its keeper there, so that neither they nor
// containers end with the service or the login session in which a user happened to start them.
//
// Under systemd the tree belongs to systemd, but for what it delegates (https://systemd.io/CGROUP_DELEGATION): the place is
// a transient scope unit in machine.slice with Delegate=yes. It is nobody's child, outlives sessions, daemon-reload and
// daemon-reexec, and ends by itself with its last process. On cgroup v2 the containers' groups are below it, and the keeper
// and the engine in a leaf of their own, for a group that gives controllers to groups below it may hold no process. On
// cgroup v1 systemd only cares for groups that it has made, so containers are below the root there, as docker's are.
//
// Without systemd the place is a group below the root.
package scope

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"tutti/runtime/cgroup"
)

const (
	// slice is where systemd keeps virtual machines and containers, systemd.special(7).
	slice = "machine.slice"
	// stopTimeout is how long processes have when the scope is stopped with the host: docker's default grace.
	stopTimeout = 10 * time.Second
	// busTimeout bounds a conversation with systemd: without an answer the place is below the root.
	busTimeout = 10 * time.Second
)

// Booted tells whether systemd manages this machine, sd_booted(3).
func Booted() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// Place names what belongs to one engine.
type Place struct {
	Name string // of the units NAME.scope and NAME.service, the one that starts the engine at boot
	Root string // the parent group where systemd has no say, "/tutti-ab12"
}

func (p Place) unit() string { return p.Name + ".scope" }

// Settle returns the parent group for the containers of an engine, and moves pids, the calling process and its keeper, to
// where nobody else's end is theirs. When systemd does not answer, an error comes with a place that still works.
func Settle(ctx context.Context, host *cgroup.Host, p Place, pids []int) (parent string, err error) {
	if !Booted() {
		return p.Root, nil
	}
	home, err := settle(ctx, host, p, pids)
	if host.Version() == 1 {
		return p.Root, err
	}
	if err != nil {
		return p.Root, errors.Join(err, host.MoveInto(path.Join(p.Root, cgroup.Leaf), pids))
	}
	return home, host.MoveInto(path.Join(home, cgroup.Leaf), pids)
}

// settle makes sure that the processes are in the scope and returns its path.
func settle(ctx context.Context, host *cgroup.Host, p Place, pids []int) (string, error) {
	unit := p.unit()
	if home, err := find(unit, pids); err != nil || home != "" {
		return home, err
	}
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	bus, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return "", fmt.Errorf("connect to systemd: %w", err)
	}
	defer bus.Close()
	if err := start(ctx, bus, p, pids); err != nil {
		busError, ok := errors.AsType[godbus.Error](err)
		if !ok || busError.Name != "org.freedesktop.systemd1.UnitExists" {
			return "", fmt.Errorf("start %s: %w", unit, err)
		}
		// Containers of a keeper that died hold it.
		if err := attach(ctx, bus, unit, host, pids); err != nil {
			return "", fmt.Errorf("join %s: %w", unit, err)
		}
	}
	home, err := find(unit, pids)
	if err == nil && home == "" {
		err = fmt.Errorf("systemd has not moved the processes %v to %s", pids, unit)
	}
	return home, err
}

// find returns the scope's path when all processes are in it, else "".
func find(unit string, pids []int) (string, error) {
	home := ""
	for _, pid := range pids {
		own, err := cgroup.OwnPath(pid)
		if err != nil {
			return "", err
		}
		before, _, in := strings.Cut(own+"/", "/"+unit+"/")
		if !in {
			return "", nil
		}
		home = before + "/" + unit
	}
	return home, nil
}

// start makes the scope around the processes and waits until they are in it.
func start(ctx context.Context, bus *dbus.Conn, p Place, pids []int) error {
	done := make(chan string, 1)
	_, err := bus.StartTransientUnitContext(ctx, p.unit(), "fail", properties(p, pids), done)
	if err != nil {
		return err
	}
	return AwaitJob(ctx, done)
}

// AwaitJob waits for the result of a job of systemd's, and says if that is none that was wished for.
func AwaitJob(ctx context.Context, result <-chan string) error {
	select {
	case r := <-result:
		if r != "done" {
			return fmt.Errorf("its job ended with %q", r)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// numbers are pids as D-Bus has them.
func numbers(pids []int) []uint32 {
	n := make([]uint32, len(pids))
	for i, pid := range pids {
		n[i] = uint32(pid) //nolint:gosec // pids are positive
	}
	return n
}

func properties(p Place, pids []int) []dbus.Property {
	return []dbus.Property{
		dbus.PropDescription("tutti: keeper, engine and containers"),
		dbus.PropSlice(slice),
		{Name: "PIDs", Value: godbus.MakeVariant(numbers(pids))},
		{Name: "Delegate", Value: godbus.MakeVariant(true)},
		{Name: "TasksMax", Value: godbus.MakeVariant(^uint64(0))},
		{Name: "TimeoutStopUSec", Value: godbus.MakeVariant(uint64(stopTimeout / time.Microsecond))},
		{Name: "CollectMode", Value: godbus.MakeVariant("inactive-or-failed")},
		// When the host goes down, the service stops the containers in their order before the scope ends what is left.
		{Name: "Before", Value: godbus.MakeVariant([]string{p.Name + ".service"})},
	}
}

// attach moves processes into a scope that exists.
func attach(ctx context.Context, bus *dbus.Conn, unit string, host *cgroup.Host, pids []int) error {
	if host.Version() == 1 {
		return bus.AttachProcessesToUnit(ctx, unit, "/", numbers(pids))
	}
	p, err := bus.GetUnitTypePropertyContext(ctx, unit, "Scope", "ControlGroup")
	if err != nil {
		return err
	}
	home, ok := p.Value.Value().(string)
	if !ok || home == "" {
		return fs.ErrNotExist
	}
	return host.MoveInto(path.Join(home, cgroup.Leaf), pids)
}
