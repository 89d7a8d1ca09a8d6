package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/netdriver"
	"tutti/netdriver/netns"
	"tutti/runtime"
	"tutti/runtime/logs"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
)

// StartUnit runs a container. One that runs already is left alone. The order of the steps is the order in which they depend on
// one another; when one fails, those before it are undone.
func (e *Engine) StartUnit(ctx context.Context, u *Unit) error {
	started, err := e.startOnce(ctx, u)
	if err != nil || !started {
		return err
	}
	return e.postStart(ctx, u) // whoever wants to stop it need not wait for its hooks
}

func (e *Engine) startOnce(ctx context.Context, u *Unit) (started bool, err error) {
	u.op.Lock()
	defer u.op.Unlock()
	if u.Snapshot().Alive() {
		return false, nil
	}
	return true, e.startLocked(ctx, u, byCommand, 0)
}

// startLocked is start for who holds u.op. delay is what the restart policy made it wait.
func (e *Engine) startLocked(ctx context.Context, u *Unit, cause startCause, delay time.Duration) (err error) {
	if e.halting.Load() {
		return errHalting
	}
	before := u.Snapshot()
	if before.Alive() {
		return nil
	}
	defer u.gate.Close()() // the layers must not be mounted twice
	s := &starter{e: e, u: u, cause: cause, delay: delay}
	defer func() {
		if err == nil {
			return
		}
		err = errors.Join(err, s.undo(context.WithoutCancel(ctx)))
		_, stateErr := u.update(func(st *container.State) {
			*st = before
			st.Error, st.ExitCode = err.Error(), runtime.ExitCode(err)
			if st.Status == container.Restarting {
				st.Status = container.Exited
			}
		})
		err = errors.Join(err, stateErr)
	}()
	for _, step := range []func(context.Context) error{s.recorded, s.canShip, s.namespace, s.attach, s.writeFiles, s.output, s.input, s.process, s.publish, s.resolve, s.execute} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return s.supervise()
}

// starter is one start of one container.
type starter struct {
	e     *Engine
	u     *Unit
	cause startCause
	delay time.Duration

	ns   *netns.NS // nil: the host's
	path string    // of the network namespace, "" for the host's
	// hostname and domainname are those of the container whose network is shared.
	hostname, domainname string
	endpoints            []container.Endpoint
	bindings             []netdriver.PortBinding
	pipes                *logs.Pipes
	stdin                *os.File // the container's side, nil for none
	in                   *input   // the other
	created              *runtime.Container
	undos                []func(context.Context) error
}

func (s *starter) onUndo(f func(context.Context) error) { s.undos = append(s.undos, f) }

func (s *starter) undo(ctx context.Context) error {
	var err error
	for _, v := range slices.Backward(s.undos) {
		err = errors.Join(err, v(ctx))
	}
	if s.ns != nil {
		s.ns.Close()
	}
	return err
}

// namespace makes the network namespace, or finds the one to share.
func (s *starter) namespace(ctx context.Context) error {
	switch mode := s.u.Config.NetworkMode; {
	case mode == "host":
		return nil
	case strings.HasPrefix(mode, "service:"), strings.HasPrefix(mode, "container:"):
		p, err := s.e.peerProcess(ctx, &s.u.Config, mode)
		if err != nil {
			return fmt.Errorf("network_mode: %w", err)
		}
		peer, err := s.e.Peer(&s.u.Config, mode)
		if err != nil {
			return fmt.Errorf("network_mode: %w", err)
		}
		s.path = p.NetNS()
		s.hostname, s.domainname = peer.names()
		return s.e.yieldDNS(ctx, &s.u.Config)
	}
	ns, err := s.e.sharedNamespace(ctx, s.u)
	if ns == nil && err == nil {
		ns = s.e.takeSandbox(s.u.ID)
	}
	if ns == nil && err == nil {
		ns, err = netns.New()
	}
	if err != nil {
		return err
	}
	s.ns, s.path = ns, ns.Path()
	return nil
}

// attach puts the container on its networks; without any there is still the loopback interface.
func (s *starter) attach(ctx context.Context) error {
	if s.ns == nil {
		return nil
	}
	specs, byID, err := s.e.endpointSpecs(s.u.Now())
	if err != nil {
		return err
	}
	r, err := s.e.Reservation(s.u.Now())
	if err != nil {
		return err
	}
	s.onUndo(func(ctx context.Context) error { return s.e.forgo(ctx, s.u.ID) })
	if err := s.e.NetDriver.Reserve(ctx, r)[0]; err != nil {
		return err
	}
	made, err := s.e.NetDriver.Attach(ctx, s.u.ID, s.ns, specs)
	if err != nil {
		return err
	}
	for _, p := range made {
		s.endpoints = append(s.endpoints, container.Endpoint{Network: byID[p.NetworkID], Endpoint: p})
	}
	return nil
}

// output prepares the pipes of the log, and has the keeper hold them: what the container writes while there is no engine
// waits in them.
func (s *starter) output(context.Context) error {
	if err := s.u.captured().Begin(); err != nil {
		s.e.Log.Warn("begin the log", "container", s.u.Name(), "error", err)
	}
	if s.u.Config.TTY {
		return nil
	}
	p, err := logs.NewPipes()
	if err != nil {
		return err
	}
	s.pipes = p
	s.onUndo(func(context.Context) error {
		s.u.captured().Finish()
		return errors.Join(p.Close(), s.e.keeper.Release(s.u.ID))
	})
	return s.e.keeper.Hold(s.u.ID, p.Files())
}

// process makes the container's first process, which waits in front of its program.
func (s *starter) process(ctx context.Context) error {
	u := s.u
	spec, rootfs, err := s.e.spec(ctx, u, s.path)
	if err != nil {
		return err
	}
	o := runtime.CreateOptions{Rootfs: rootfs, Init: u.Config.Init, Groups: u.Config.Groups}
	if s.pipes != nil {
		o.Stdio.Stdout, o.Stdio.Stderr = s.pipes.Stdout, s.pipes.Stderr
	}
	if s.stdin != nil {
		defer s.stdin.Close()
		o.Stdio.Stdin = s.stdin
	}
	if size := u.terminalSize(); u.Config.TTY && size != (api.Size{}) {
		spec.Process.ConsoleSize = &specs.Box{Width: uint(size.Width), Height: uint(size.Height)}
	}
	c, err := s.e.runtime.Create(ctx, u.ID, spec, o)
	if s.pipes != nil {
		closeErr := s.pipes.CloseChild() // the process has them now, or never will
		err = cmp.Or(err, closeErr)
	}
	if c != nil {
		s.created = c
		s.onUndo(func(ctx context.Context) error {
			if c.Console != nil {
				_ = c.Console.Close() // the keeper's goes with Release
			}
			return errors.Join(c.Delete(ctx), s.e.keeper.Release(u.ID))
		})
	}
	if err != nil {
		return err
	}
	// Another container with the same volume may have put a symlink in the way of a subpath meanwhile.
	if err := s.e.VolumeStore.Verify(c.Pid(), spec.Mounts); err != nil {
		return err
	}
	if c.Console != nil {
		return s.e.keeper.Hold(u.ID, map[string]*os.File{"console": c.Console})
	}
	return nil
}

// publish opens the container's ports on the host.
func (s *starter) publish(ctx context.Context) error {
	if len(s.endpoints) == 0 { // somebody may have disconnected it from all its networks
		return nil
	}
	if len(s.u.Config.Ports) == 0 {
		return s.e.NetDriver.Settle(ctx)
	}
	specs, err := PortSpecs(s.u.Config.Ports)
	if err != nil {
		return err
	}
	s.bindings, err = s.e.NetDriver.Publish(ctx, s.u.ID, specs)
	return err
}

// resolve starts the resolver in the container's namespace and makes the container's names known.
func (s *starter) resolve(ctx context.Context) error {
	if s.ns == nil || !s.u.Config.OwnNetwork() {
		return nil
	}
	udp, tcp, err := s.e.listenDNS(ctx, s.ns, &s.u.Config)
	if err != nil {
		return fmt.Errorf("start the resolver: %w", err)
	}
	s.onUndo(func(context.Context) error { s.e.unresolve(s.u.ID); return nil })
	err = s.e.holdDNS(s.u.ID, udp, tcp)
	s.e.names.Set(s.u.ID, s.e.nameEntry(s.u.Now(), s.endpoints))
	return errors.Join(err, s.e.dns.Serve(s.u.ID, udp, tcp))
}

// execute lets the process go. From here on the container runs, also for an engine that finds it after a crash: the
// record says so before the program can do anything.
func (s *starter) execute(ctx context.Context) error {
	u := s.u
	before := u.Snapshot()
	var output [2]uint64
	if s.pipes != nil {
		var err error
		if output, err = s.pipes.Inodes(); err != nil {
			return fmt.Errorf("identify the pipes of the log: %w", err)
		}
	}
	_, err := u.updateNow(func(st *container.State) {
		*st = container.State{
			Status: container.Running, Pid: s.created.Pid(), Started: time.Now().UTC(), Finished: before.Finished,
			Hostname: s.hostname, Domainname: s.domainname, Before: before.Ended(), Restarts: before.Restarts, Delay: s.delay, Endpoints: s.endpoints, Bindings: s.bindings,
			Output: output,
			Seq:    s.e.starts.Add(1), Again: before.Again, Networks: before.Networks, Name: before.Name, Updated: before.Updated,
		}
		s.cause.count(st)
		if u.Config.Health != nil {
			h := u.Config.Health.Begin()
			st.Health = &h
		}
	})
	if err != nil {
		return err
	}
	return s.e.explainFormat(ctx, &u.Config, s.created.Start(ctx))
}

// supervise hands the running container over to its goroutines.
func (s *starter) supervise() error {
	if s.ns != nil {
		s.ns.Close() // the process holds it now
	}
	s.u.beginLife(s.created, s.in)
	s.e.bus.send(change{kind: changeStarted, unit: s.u})
	s.e.watch(s.u, s.created, s.pipes)
	return nil
}

// spec is the OCI spec of a container's next run, and the mounts that make its root.
func (e *Engine) spec(ctx context.Context, u *Unit, netNS string) (*specs.Spec, []specs.Mount, error) {
	lowers, err := e.lowers(ctx, u.Config.ImageID)
	if err != nil {
		return nil, nil, err
	}
	mounts, err := e.mounts(ctx, u)
	if err != nil {
		return nil, nil, err
	}
	o := container.SpecOptions{Root: e.Paths.Rootfs(), NetNS: netNS, Mounts: mounts, Etc: e.filesDir(u.ID)}
	if err := e.share(ctx, &u.Config, &o); err != nil {
		return nil, nil, err
	}
	// The host may have been booted with another kernel since the container was created.
	config, _, err := e.Fit(*u.Now())
	if err != nil {
		return nil, nil, err
	}
	spec, err := config.Spec(o)
	if err != nil {
		return nil, nil, err
	}
	if err := resetVolatile(u.work()); err != nil {
		return nil, nil, err
	}
	overlay := specs.Mount{Type: "overlay", Source: "overlay", Destination: "/", Options: []string{
		"lowerdir=" + strings.Join(append(slices.Clip(lowers), e.Paths.Skeleton()), ":"), "upperdir=" + u.upper(), "workdir=" + u.work(), "volatile",
	}}
	return spec, []specs.Mount{overlay}, nil
}

// resetVolatile removes the mark by which overlayfs refuses an upper folder that was mounted volatile before
// (Documentation/filesystems/overlayfs.rst, "Volatile mount"). A container's layer is not synced on purpose: what must
// survive a power cut belongs into a volume.
func resetVolatile(work string) error {
	return os.RemoveAll(work + "/work/incompat/volatile")
}
