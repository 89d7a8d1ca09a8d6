package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"tutti/runtime/statefile"
	"tutti/runtime/wire"
)

// startSocket is the file in a container's state folder that its init listens on
// until it executes its program. Nothing else tells created from running: the
// kernel refuses connections from then on, whoever died meanwhile.
const startSocket = "start.sock"

// prepareExtras opens what init is handed besides its socket.
func (c *Container) prepareExtras(p *plan, o CreateOptions) error {
	if o.Init && o.Detached {
		return errors.New("a container with an init of the runtime's cannot be created detached")
	}
	p.config.NoPivot, p.config.NoKeyring = o.NoPivot, o.NoKeyring
	c.state.Join = p.joinLater()
	if err := p.openNamespaces(); err != nil {
		return err
	}
	if err := c.makeOuter(p, len(o.Rootfs) > 0); err != nil {
		return err
	}
	if err := c.rt.openTrees(p, len(o.Rootfs) > 0); err != nil {
		return err
	}
	if o.Detached {
		// Its cgroup may be anywhere: what a killed creator leaves must be found by it.
		if err := statefile.Write(c.rt.stateFile(c.id), &c.state); err != nil {
			return err
		}
		listener, err := c.listen()
		if err != nil {
			return fmt.Errorf("listen for the start: %w", err)
		}
		p.owned = append(p.owned, listener)
		p.config.StartFD = p.extra(listener)
	}
	p.config.Preserve = uint32(len(o.Stdio.Preserve))
	for i, f := range o.Stdio.Preserve {
		if fd := p.extra(f); i == 0 {
			p.config.PreserveFD = fd
		}
	}
	return nil
}

// placeForInit does what an init in a user namespace may not: its rights end there.
func (c *Container) placeForInit(pid int, cfg *wire.Config) error {
	cfg.CgroupTasks = nil
	if c.cg.Dir() == "" {
		if err := c.cg.Add(pid); err != nil {
			return err
		}
	}
	score := cfg.Process.OOMScoreAdj
	if score == "" {
		return nil
	}
	cfg.Process.OOMScoreAdj = ""
	if err := os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(score), 0); err != nil {
		return fmt.Errorf("set oom_score_adj: %w", err)
	}
	return nil
}

// socketAddress is the socket's address; the folder is named by its descriptor
// because an address has no more than 108 bytes.
func (c *Container) socketAddress() (*unix.SockaddrUnix, *os.File, error) {
	dir, err := os.Open(c.rt.dir(c.id))
	if err != nil {
		return nil, nil, err
	}
	return &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + startSocket}, dir, nil
}

func (c *Container) listen() (*os.File, error) {
	address, dir, err := c.socketAddress()
	if err != nil {
		return nil, err
	}
	defer dir.Close() //nolint:errcheck // opened for reading
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), startSocket)
	if err := unix.Bind(fd, address); err != nil {
		_ = f.Close()
		return nil, err
	}
	if err := unix.Listen(fd, 16); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// dial connects to the init. The error is ErrNotCreated when nobody listens.
func (c *Container) dial() (*control, error) {
	address, dir, err := c.socketAddress()
	if err != nil {
		return nil, err
	}
	defer dir.Close() //nolint:errcheck // opened for reading
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Connect(fd, address)
	if err == nil {
		return &control{f: os.NewFile(uintptr(fd), startSocket)}, nil
	}
	_ = unix.Close(fd)
	if errors.Is(err, fs.ErrNotExist) || err == unix.ECONNREFUSED {
		return nil, ErrNotCreated
	}
	return nil, err
}

// created tells whether the container waits for its start.
func (c *Container) created() bool {
	if !c.state.Detached {
		return c.ctl != nil
	}
	ctl, err := c.dial()
	if err == nil {
		ctl.close()
		return true
	}
	return err == unix.EAGAIN // it listens, and others ask too
}

// startDetached starts a container that another process may have created. Only
// one at a time tries to.
func (c *Container) startDetached(ctx context.Context) error {
	dir, err := os.Open(c.rt.dir(c.id))
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // opened for reading; ends the lock
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%w: another start is under way", ErrNotCreated)
	}
	if !c.alive() {
		return ErrNotCreated
	}
	ctl, err := c.dial()
	if err != nil {
		return err
	}
	defer ctl.close()
	if err := ctl.start(ctx, frame(wire.FrameStart, nil)); err != nil {
		return err
	}
	return os.Remove(c.rt.dir(c.id) + "/" + startSocket)
}
