package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime/cgroup"
	"tutti/runtime/statefile"
	"tutti/runtime/wire"
)

// cleanupTime bounds the removal of a container that could not be created.
const cleanupTime = 5 * time.Second

// Create makes a container whose init has set up everything and waits for Start.
// Errors of init's steps are returned here; then nothing of the container is left.
// The created container lives no longer than this process until it is started.
func (r *Runtime) Create(ctx context.Context, id string, spec *specs.Spec, o CreateOptions) (*Container, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("create container %s: %w", id, err)
	}
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	if err := r.makeDir(id); err != nil {
		return nil, err
	}
	path, err := r.placeCgroup(id, spec.Linux.CgroupsPath)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create container %s: %w", id, err), os.RemoveAll(r.dir(id)))
	}
	c := &Container{rt: r, id: id, cg: r.cgroups.Manager(path), state: state{
		ID: id, Cgroup: path, Created: time.Now(), Bundle: o.Bundle, Root: spec.Root.Path, Annotations: spec.Annotations,
		Hooks: lateHooks(spec.Hooks), Detached: o.Detached, NoKeyring: o.NoKeyring,
	}}
	err = c.create(ctx, spec, o)
	if err == nil {
		return c, nil
	}
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = fmt.Errorf("%w: %w", ctx.Err(), err) // the sockets to init only know that time is over
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	if cause := c.diagnose(); cause != nil {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	return nil, errors.Join(fmt.Errorf("create container %s: %w", id, err), c.Delete(cleanup))
}

// diagnose finds out why init ended without a word.
func (c *Container) diagnose() error {
	if c.OOMKilled() {
		return errors.New("the memory limit is too low for the container's init")
	}
	return nil
}

func (c *Container) create(ctx context.Context, spec *specs.Spec, o CreateOptions) error {
	p, err := c.rt.translate(c.id, spec, o, c.cg)
	if err != nil {
		return err
	}
	defer p.close()
	if err := c.prepareExtras(p, o); err != nil {
		return err
	}
	res := withAllowedDevices(spec.Linux.Resources)
	late := &specs.LinuxResources{}
	if c.cg.Dir() != "" {
		// On v2 the threads of init's Go runtime count too, until execve ends them.
		late.Pids, res.Pids = res.Pids, nil
	}
	// With v1 init joins the groups itself: they are made while it starts.
	if c.cg.Dir() != "" {
		if err := c.makeCgroup(res); err != nil {
			return err
		}
	}
	proc, err := c.rt.launch(c.id, c.cg, p.spawn, o.Stdio, spec.Process.Terminal, p.extras...)
	if proc.pidfd != nil {
		c.pidfd, c.ctl = proc.pidfd, proc.ctl
		c.state.Pid, c.state.OwnPidNS = proc.pid, p.newPID
	}
	if err != nil {
		return err
	}
	if !c.madeCgroup {
		if err := c.makeCgroup(res); err != nil {
			return err
		}
	}
	score := p.config.Process.OOMScoreAdj
	if p.inUserNS() {
		if err := c.placeForInit(proc.pid, &p.config); err != nil {
			return err
		}
	}
	defer c.ctl.bound(ctx)()
	if err := c.ctl.send(frame(wire.FrameConfig, p.config.Marshal())); err != nil {
		return err
	}
	// The state is written while init works. If init fails meanwhile, and is gone
	// before its start time could be read, its own error is the one to tell.
	p.config.Process.OOMScoreAdj = score
	remembered := c.remember(&p.config.Process, o.Groups)
	if err := c.awaitReady(ctx, spec.Hooks); err != nil {
		return err
	}
	return errors.Join(remembered, c.cg.Set(late))
}

func (c *Container) makeCgroup(res *specs.LinuxResources) error {
	err := c.cg.Create(res)
	if c.state.Detached && errors.Is(err, fs.ErrExist) {
		err = c.cg.Adopt(res) // its path is the caller's choice, who may have made it
	}
	c.madeCgroup = err == nil
	return err
}

// awaitReady waits until init has set up everything.
func (c *Container) awaitReady(ctx context.Context, h *specs.Hooks) error {
	for {
		switch kind, err := c.ctl.next(); {
		case errors.Is(err, io.EOF):
			return errors.New("the container's init ended without a word")
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case kind == wire.FrameHooks:
			if err := c.runCreateHooks(h); err != nil {
				return err
			}
			if err := c.ctl.send(frame(wire.FrameGoOn, nil)); err != nil {
				return err
			}
		case kind == wire.FrameReady:
			c.Console = c.ctl.takeConsole()
			if c.state.Detached { // the start comes over another socket
				c.ctl.close()
				c.ctl = nil
			}
			return nil
		}
	}
}

// remember writes the state file.
func (c *Container) remember(p *wire.Process, groups []string) error {
	start, err := startTime(c.state.Pid)
	if err != nil {
		return fmt.Errorf("read start time of init: %w", err)
	}
	c.state.StartTime = start
	c.state.Filter, c.state.FilterFlags = p.Filter, p.FilterFlags
	c.state.Caps, c.state.NoNewPrivs = p.Caps, p.NoNewPrivs
	c.state.OOMScoreAdj, c.state.Groups = p.OOMScoreAdj, groups
	c.state.Personality, c.state.AppArmor = p.Personality, p.Apparmor
	return statefile.Write(c.rt.stateFile(c.id), &c.state)
}

// launched is an init that waits for its configuration.
type launched struct {
	child
	ctl *control
}

// launch clones an init and registers it with the reaper under key, if any. After an
// error a pidfd in the result means that the process was cloned; the caller then
// has to get rid of it.
func (r *Runtime) launch(key string, cg cgroup.Manager, s spawnOptions, stdio Stdio, terminal bool, extra ...*os.File) (launched, error) {
	ctl, theirs, err := newControl()
	if err != nil {
		return launched{}, err
	}
	defer theirs.Close() //nolint:errcheck // init has its own descriptor
	files, closeNull, err := standardFiles(stdio, terminal)
	if err != nil {
		ctl.close()
		return launched{}, err
	}
	defer closeNull()
	s.files = append(append(files, theirs), extra...)
	// clone3(2) refuses CLONE_INTO_CGROUP together with CLONE_PARENT as Go sets its
	// exit signal; then the group is entered right after the clone.
	into := cg.Dir() != "" && r.cfg.Reaper.CloneFlags() == 0 && !s.raw()
	if into {
		if s.cgroup, err = os.Open(cg.Dir()); err != nil {
			ctl.close()
			return launched{}, fmt.Errorf("open cgroup: %w", err)
		}
		defer s.cgroup.Close() //nolint:errcheck // opened for reading
	}
	ch, err := r.spawn(s)
	if err != nil {
		ctl.close()
		return launched{}, err
	}
	l := launched{ch, ctl}
	if key != "" {
		if err := r.cfg.Reaper.Register(key, ch.pid); err != nil {
			return l, err
		}
	}
	if cg.Dir() != "" && !into {
		if err := cg.Add(ch.pid); err != nil {
			return l, err
		}
	}
	return l, nil
}

// standardFiles returns the three standard streams, with /dev/null in the gaps.
func standardFiles(s Stdio, terminal bool) (files []*os.File, closeNull func(), err error) {
	files = []*os.File{s.Stdin, s.Stdout, s.Stderr}
	if terminal {
		files = []*os.File{nil, nil, nil}
	}
	var null *os.File
	for i, f := range files {
		if f != nil {
			continue
		}
		if null == nil {
			if null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
				return nil, nil, fmt.Errorf("open %s: %w", os.DevNull, err)
			}
		}
		files[i] = null
	}
	return files, func() {
		if null != nil {
			_ = null.Close()
		}
	}, nil
}
