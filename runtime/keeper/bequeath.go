package keeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/initbin"
	"tutti/runtime/keeper/server"
	"tutti/runtime/keeper/wire"
)

// ErrSucceeded says that there is a keeper: somebody else has started one for the folder already, or it has only hung up.
var ErrSucceeded = errors.New("a keeper runs already")

// dyingTime is how long a keeper may take to die after its socket is closed.
const dyingTime = 2 * time.Second

// Bequeath is for an engine whose keeper has died: it starts another keeper for o.RunDir and hands over to it all that
// the dead one had, which this process has too. The new keeper starts a new engine once this process has ended, which is
// what the caller has to do next; nothing that the caller does meanwhile is lost if it would not be lost by a kill.
//
// The containers belong to the machine's init then. It reaps them; the keeper learns how they end through their pidfds.
func (c *Client) Bequeath(ctx context.Context, o StartOptions) error {
	program, err := initbin.Program()
	if err != nil {
		return err
	}
	return c.bequeath(ctx, o, func() (*os.File, error) { return initbin.Seal("tutti-keeper", program) })
}

func (c *Client) bequeath(ctx context.Context, o StartOptions, program func() (*os.File, error)) error {
	if err := c.awaitOrphaned(ctx); err != nil {
		return fmt.Errorf("hand over to another keeper: %w", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("hand over to another keeper: %w", os.NewSyscallError("socketpair", err))
	}
	theirs := os.NewFile(uintptr(pair[1]), "legacy")
	defer theirs.Close()
	sock, err := newSocket(pair[0])
	if err != nil {
		return fmt.Errorf("hand over to another keeper: %w", err)
	}
	conn, err := joinWith(ctx, o, func(listener *net.UnixListener) error { return launch(o, listener, theirs, program) }, ErrSucceeded)
	if err != nil {
		return fmt.Errorf("hand over to another keeper: %w", errors.Join(err, sock.close()))
	}
	defer conn.Close()
	if err := handOverProgram(sock, o.EngineArgv[0]); err != nil {
		return fmt.Errorf("hand over to another keeper: %w", err)
	}
	if err := c.handOver(sock); err != nil {
		return fmt.Errorf("hand over to another keeper: %w", err)
	}
	// The socket stays open until this process ends: that is the sign to start the next engine.
	c.mu.Lock()
	defer c.mu.Unlock()
	c.legacy = sock
	return nil
}

// awaitOrphaned waits until this process has got another parent. Only then has the keeper closed all its sockets: the
// control socket may still accept connections when the one to the engine is closed already.
func (c *Client) awaitOrphaned(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(dyingTime)
	defer late.Stop()
	for os.Getppid() == c.parent {
		select {
		case <-tick.C:
		case <-late.C:
			return ErrSucceeded
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// handOverProgram sends this process's own file, in case that there is none at path any more.
func handOverProgram(sock *socket, path string) error {
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer exe.Close()
	fd, err := descriptor(exe)
	if err != nil {
		return err
	}
	return sock.send(wire.Message{Op: wire.OpProgram, Text: path, Names: []string{"exe"}}, []int{fd})
}

// handOver sends everything that is kept. Nobody changes it meanwhile: without a keeper every change fails.
func (c *Client) handOver(sock *socket) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(c.kept)) {
		k := c.kept[id]
		if len(k.files) > 0 {
			c.last++
			names := slices.Sorted(maps.Keys(k.files))
			fds := make([]int, len(names))
			for i, name := range names {
				fds[i] = k.files[name]
			}
			if err := sock.sendParts(wire.Message{Op: wire.OpHold, ID: id, Names: names, Seq: c.last}, fds); err != nil {
				return err
			}
		}
		if p := k.process; p != nil {
			m := p.legacy(id)
			var fds []int
			if len(m.Names) > 0 {
				fds = []int{p.pidfd}
			}
			if err := sock.send(m, fds); err != nil {
				return err
			}
		}
	}
	return nil
}

// legacy tells another keeper about the process: with its pidfd, or how it ended. One that ended without this engine
// having heard of it has an end that nobody saw.
func (p *process) legacy(id string) wire.Message {
	m := wire.Message{Op: wire.OpAdopt, ID: id, PID: int32(p.pid), Token: p.token}
	select {
	case <-p.ended:
		m.State, m.Code, m.Signal, m.At = wire.Exited, byte(p.status.Code), byte(p.status.Signal), p.status.At.UnixNano()
		if p.err != nil {
			m.State, m.Code, m.At = wire.Exited|wire.Unseen, 255, 0
		}
	default:
		if p.pidfd < 0 {
			m.State, m.Code = wire.Exited|wire.Unseen, 255
			break
		}
		m.Names = []string{"pidfd"}
	}
	return m
}

// stage is the first argument of a keeper that is launched with or without a legacy.
func stage(legacy *os.File) string {
	if legacy != nil {
		return server.Inherit
	}
	return server.Launch
}
