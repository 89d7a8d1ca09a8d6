// Package bootunit is the systemd service that starts an engine at boot, and stops its containers in their order when the
// host goes down.
//
// The service is of type oneshot: it only makes sure that there is a keeper with an engine, as any command does. They and the
// containers live in a scope of their own (package runtime/cgroup/scope), which systemd delegates to the engine; so `systemctl
// restart` or `stop` of the service ends no container. What is started by hand and what is started at boot is the same.
package bootunit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"

	"tutti/runtime/cgroup/scope"
)

// Folder is where an administrator's units are, systemd.unit(5).
const Folder = "/etc/systemd/system"

// jobTimeout bounds the start and the stop of the service.
const jobTimeout = 2 * time.Minute

// ErrNoSystemd means that there is nothing to install a unit for.
var ErrNoSystemd = errors.New("this host does not run systemd: start `tutti system boot` at boot by the means of its init, and `tutti system halt` before it goes down")

// Unit is one engine's service.
type Unit struct {
	Name    string // "tutti", without .service
	Program string // absolute path of the binary
	Root    string // state folder
	Default bool   // Root is what the program uses by itself
}

// File is the unit file's path.
func (u Unit) File() string { return filepath.Join(Folder, u.service()) }

func (u Unit) service() string { return u.Name + ".service" }

// Text is the unit file.
func (u Unit) Text() string {
	command := quote(u.Program)
	if !u.Default {
		command += " --root " + quote(u.Root)
	}
	return fmt.Sprintf(`[Unit]
Description=tutti: containers of compose files
Wants=network-online.target
After=network-online.target nss-lookup.target firewalld.service
RequiresMountsFor=%[2]s

[Service]
Type=oneshot
RemainAfterExit=yes
# Starts the engine; it starts containers by their restart policies, in the order of depends_on.
ExecStart=%[1]s system boot
# Stops the containers in the opposite order when the host goes down, and does nothing otherwise.
ExecStop=%[1]s system halt
# Engine and containers are in %[3]s.scope, which is delegated to them: restarting this service ends none of them.
KillMode=process
TimeoutStartSec=5min
TimeoutStopSec=15min

[Install]
WantedBy=multi-user.target
`, command, quote(u.Root), u.Name)
}

// quote makes one word of a unit file, systemd.syntax(7) and systemd.service(5), "Command lines".
func quote(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$", "\n", `\n`).Replace(s)
	if strings.ContainsAny(s, " \t'\"\\;") {
		return `"` + s + `"`
	}
	return s
}

// Install writes the unit file, has systemd start it at every boot, and starts it. Each step that is done is told. To
// install what is installed renews it.
func (u Unit) Install(ctx context.Context, tell func(string)) error {
	bus, err := connect(ctx)
	if err != nil {
		return err
	}
	defer bus.Close()
	if err := os.WriteFile(u.File(), []byte(u.Text()), 0o644); err != nil { //nolint:gosec // units are world-readable
		return fmt.Errorf("write the unit: %w", err)
	}
	tell("wrote " + u.File())
	if err := bus.ReloadContext(ctx); err != nil {
		return fmt.Errorf("have systemd read its units: %w", err)
	}
	if _, _, err := bus.EnableUnitFilesContext(ctx, []string{u.service()}, false, true); err != nil {
		return fmt.Errorf("enable %s: %w", u.service(), err)
	}
	if err := bus.ReloadContext(ctx); err != nil {
		return fmt.Errorf("have systemd read its units: %w", err)
	}
	tell("enabled " + u.service() + ": it starts at boot")
	if err := await(ctx, func(ctx context.Context, done chan<- string) error {
		_, err := bus.StartUnitContext(ctx, u.service(), "replace", done)
		return err
	}); err != nil {
		return fmt.Errorf("start %s: %w; see `systemctl status %s`", u.service(), err, u.service())
	}
	tell("started " + u.service())
	return nil
}

// Uninstall takes back what Install did. Containers go on.
func (u Unit) Uninstall(ctx context.Context, tell func(string)) error {
	bus, err := connect(ctx)
	if err != nil {
		return err
	}
	defer bus.Close()
	if _, err := os.Lstat(u.File()); errors.Is(err, fs.ErrNotExist) {
		tell(u.service() + " is not installed")
		return nil
	}
	if err := await(ctx, func(ctx context.Context, done chan<- string) error {
		_, err := bus.StopUnitContext(ctx, u.service(), "replace", done)
		return err
	}); err != nil {
		return fmt.Errorf("stop %s: %w", u.service(), err)
	}
	if _, err := bus.DisableUnitFilesContext(ctx, []string{u.service()}, false); err != nil {
		return fmt.Errorf("disable %s: %w", u.service(), err)
	}
	tell("disabled " + u.service())
	if err := os.Remove(u.File()); err != nil {
		return fmt.Errorf("remove the unit: %w", err)
	}
	tell("removed " + u.File())
	if err := bus.ReloadContext(ctx); err != nil {
		return fmt.Errorf("have systemd read its units: %w", err)
	}
	tell("containers that run go on")
	return nil
}

// GoingDown tells whether systemd is taking the host down.
func GoingDown(ctx context.Context) (bool, error) {
	bus, err := connect(ctx)
	if err != nil {
		return false, err
	}
	defer bus.Close()
	state, err := bus.GetManagerProperty("SystemState")
	if err != nil {
		return false, fmt.Errorf("ask systemd for its state: %w", err)
	}
	return strings.Trim(state, `"`) == "stopping", nil
}

func connect(ctx context.Context) (*dbus.Conn, error) {
	if !scope.Booted() {
		return nil, ErrNoSystemd
	}
	bus, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to systemd (as root): %w", err)
	}
	return bus, nil
}

// await has systemd do a job, and waits for its end.
func await(ctx context.Context, begin func(context.Context, chan<- string) error) error {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	done := make(chan string, 1)
	if err := begin(ctx, done); err != nil {
		return err
	}
	return scope.AwaitJob(ctx, done)
}
