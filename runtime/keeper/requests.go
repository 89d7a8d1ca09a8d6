package keeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime"
	"tutti/runtime/keeper/wire"
)

// CloneFlags makes the keeper, the engine's parent, the parent of what the engine clones.
func (c *Client) CloneFlags() uintptr { return unix.CLONE_PARENT }

// Hold gives files, each under its name, to the keeper's safekeeping under id, beside what is held there
// already; a name held before is replaced. The caller's files stay open and its own. Hold does not wait for the
// keeper: once it has returned the files survive this process, and if this process dies in the middle, either
// all of them are held or none. Should the keeper be unable to take them, the next Hold or Register of id says so.
func (c *Client) Hold(id string, files map[string]*os.File) error {
	if len(files) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(files))
	if err := checkNames(id, names); err != nil {
		return err
	}
	mirror, err := duplicates(names, files)
	if err != nil {
		return fmt.Errorf("hold files of %s: %w", id, err)
	}
	fds, err := descriptors(names, files)
	c.mu.Lock()
	k := c.at(id)
	k.files.replace(mirror)
	if k.files == nil {
		k.files = mirror
	}
	err = cmp.Or(err, k.holdErr)
	c.last++
	m := wire.Message{Op: wire.OpHold, ID: id, Names: names, Seq: c.last}
	c.mu.Unlock()
	if err == nil {
		err = c.unanswered(c.sock.sendParts(m, fds))
	}
	if err != nil {
		return fmt.Errorf("hold files of %s: %w", id, err)
	}
	return nil
}

// Take returns duplicates of the files held under id, by name; none when there are none. A file that is
// non-blocking works with deadlines and Go's poller.
func (c *Client) Take(id string) (map[string]*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	files := map[string]*os.File{}
	if k := c.kept[id]; k != nil {
		for name, fd := range k.files {
			own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				closeFiles(files)
				return nil, fmt.Errorf("take %s of %s: %w", name, id, err)
			}
			files[name] = os.NewFile(uintptr(own), name)
		}
	}
	return files, nil
}

// Register makes child pid the process of id. It does not wait for the keeper: once it has returned, the
// registration is made also if this process dies. Should the keeper refuse, Wait says so. Registering the
// same pid again, as a new engine may, changes nothing.
func (c *Client) Register(id string, pid int) error {
	if err := checkNames(id, nil); err != nil {
		return err
	}
	c.mu.Lock()
	k := c.at(id)
	if err := k.holdErr; err != nil {
		c.mu.Unlock()
		return fmt.Errorf("hold files of %s: %w", id, err)
	}
	if p := k.process; p != nil {
		c.mu.Unlock()
		if p.pid == pid {
			return nil
		}
		return fmt.Errorf("register process %d as %s: %w (%d)", pid, id, ErrRegistered, p.pid)
	}
	c.last++
	k.process = newProcess(pid, c.last)
	m := wire.Message{Op: wire.OpRegister, ID: id, PID: int32(pid), Token: c.last}
	c.mu.Unlock()
	if err := c.unanswered(c.sock.send(m, nil)); err != nil {
		return fmt.Errorf("register process %d as %s: %w", pid, id, err)
	}
	return nil
}

// Adopt makes a running process the process of id though it is no child of the keeper's: the keeper that it was a child
// of has died together with its engine. pidfd remains the caller's. A process that is registered already is no error.
func (c *Client) Adopt(id string, pid int, pidfd *os.File) error {
	if err := checkNames(id, nil); err != nil {
		return err
	}
	if c.version < 2 {
		return fmt.Errorf("adopt process %d as %s: the keeper is too old for that", pid, id)
	}
	fd, err := duplicate(pidfd)
	if err != nil {
		return fmt.Errorf("adopt process %d as %s: %w", pid, id, err)
	}
	c.mu.Lock()
	k := c.at(id)
	if k.process != nil {
		c.mu.Unlock()
		_ = unix.Close(fd)
		if k.process.pid == pid {
			return nil
		}
		return fmt.Errorf("adopt process %d as %s: %w (%d)", pid, id, ErrRegistered, k.process.pid)
	}
	c.last++
	k.process = &process{pid: pid, token: c.last, pidfd: fd, ended: make(chan struct{})}
	m := k.process.legacy(id)
	c.mu.Unlock()
	fds, err := descriptors(m.Names, map[string]*os.File{m.Names[0]: pidfd})
	if err == nil {
		err = c.unanswered(c.sock.send(m, fds))
	}
	if err != nil {
		return fmt.Errorf("adopt process %d as %s: %w", pid, id, err)
	}
	return nil
}

// SetProgram has the keeper start the next engine from the file at an absolute path.
func (c *Client) SetProgram(path string) error {
	if c.version < 2 {
		return errors.New("the keeper is too old to start another program")
	}
	return c.sock.send(wire.Message{Op: wire.OpProgram, Text: path}, nil)
}

// newProcess is the registration of a process that was just cloned. Its pidfd is for a keeper's successor.
func newProcess(pid int, token uint64) *process {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		fd = -1 // it has ended already, and the keeper reaped it
	}
	return &process{pid: pid, token: token, pidfd: fd, ended: make(chan struct{})}
}

// Wait returns how id's process ended, once it has; as often as asked, until Release.
func (c *Client) Wait(ctx context.Context, id string) (runtime.ExitStatus, error) {
	c.mu.Lock()
	var p *process
	if k := c.kept[id]; k != nil {
		p = k.process
	}
	c.mu.Unlock()
	if p == nil {
		return runtime.ExitStatus{}, fmt.Errorf("wait for %s: %w", id, ErrUnknown)
	}
	select {
	case <-p.ended: // first, for select chooses at random
		return p.result(id)
	default:
	}
	select {
	case <-p.ended:
		return p.result(id)
	case <-c.over:
		return runtime.ExitStatus{}, fmt.Errorf("wait for %s: %w", id, ErrLost)
	case <-ctx.Done():
		return runtime.ExitStatus{}, ctx.Err()
	}
}

func (p *process) result(id string) (runtime.ExitStatus, error) {
	if p.err != nil {
		return runtime.ExitStatus{}, fmt.Errorf("wait for %s: %w", id, p.err)
	}
	return p.status, nil
}

// Release makes the keeper forget id: its files, its process, its exit. A process that still runs is not
// touched. Releasing twice is no error.
func (c *Client) Release(id string) error {
	c.mu.Lock()
	k := c.kept[id]
	delete(c.kept, id)
	if k != nil {
		if k.process != nil {
			k.process.end(runtime.ExitStatus{}, ErrReleased)
		}
		k.forget()
	}
	c.mu.Unlock()
	if k == nil {
		return nil
	}
	if err := c.unanswered(c.sock.send(wire.Message{Op: wire.OpRelease, ID: id}, nil)); err != nil {
		return fmt.Errorf("release %s: %w", id, err)
	}
	return nil
}

// Sync waits until the keeper has done all that it was asked before, which nothing else waits for.
func (c *Client) Sync() error {
	_, err := c.request(wire.Message{Op: wire.OpTake}) // of nobody; it answers in the order of the requests
	return err
}

// Held returns, sorted, every id under which the keeper holds files or a process.
func (c *Client) Held() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.kept))
}

// PID returns the registered process of id, whether or not it has ended.
func (c *Client) PID(id string) (pid int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kept[id]
	if k == nil || k.process == nil {
		return 0, false
	}
	return k.process.pid, true
}

// at returns id's record, a new one if need be; the caller holds mu.
func (c *Client) at(id string) *kept {
	k := c.kept[id]
	if k == nil {
		k = &kept{}
		c.kept[id] = k
	}
	return k
}

// end sets the outcome unless there is one; the caller holds mu.
func (p *process) end(s runtime.ExitStatus, err error) {
	select {
	case <-p.ended:
	default:
		p.status, p.err = s, err
		close(p.ended)
	}
}

// request sends m and waits for the answer.
func (c *Client) request(m wire.Message) (*call, error) {
	answer, err := c.ask(m)
	if err != nil {
		return answer, err
	}
	return answer, c.await(answer)
}

// ask sends m; await is to be called for its answer.
func (c *Client) ask(m wire.Message) (*call, error) {
	answer := &call{done: make(chan struct{})}
	c.mu.Lock()
	c.last++
	m.Seq, answer.seq = c.last, c.last
	c.calls[m.Seq] = answer
	c.mu.Unlock()
	return answer, c.sock.send(m, nil)
}

func (c *Client) await(answer *call) error {
	defer func() {
		c.mu.Lock()
		delete(c.calls, answer.seq)
		c.mu.Unlock()
	}()
	select {
	case <-answer.done:
		return answer.err
	case <-c.lost:
		return ErrLost
	}
}

// read handles everything that comes from the keeper until it is gone.
func (c *Client) read() {
	defer close(c.lost)
	for {
		m, fds, err := c.sock.receive()
		if errors.Is(err, ErrLost) {
			return
		}
		if err != nil {
			closeAll(fds)
			continue
		}
		c.mu.Lock()
		c.heard(m, fds)
		c.mu.Unlock()
	}
}

// heard applies one message; the caller holds mu.
func (c *Client) heard(m wire.Message, fds []int) {
	status := runtime.ExitStatus{Code: int(m.Code), Signal: int(m.Signal), At: time.Unix(0, m.At)}
	var unseen error
	if m.State&wire.Unseen != 0 {
		unseen = ErrUnseen
	}
	switch m.Op {
	case wire.OpEntry:
		k := c.at(m.ID)
		if m.State&wire.Registered == 0 {
			return
		}
		if m.State&wire.Exited == 0 {
			k.process = newProcess(int(m.PID), m.Token)
			return
		}
		k.process = &process{pid: int(m.PID), token: m.Token, pidfd: -1, ended: make(chan struct{})}
		k.process.end(status, unseen)
	case wire.OpExit:
		// The token tells a late message about a released process from the news about its successor.
		if k := c.kept[m.ID]; k != nil && k.process != nil && k.process.token == m.Token {
			k.process.end(status, unseen)
		}
	case wire.OpReply:
		c.replied(m, fds)
	default:
		closeAll(fds)
	}
}

func (c *Client) replied(m wire.Message, fds []int) {
	if m.Token != 0 { // a refused registration
		if k := c.kept[m.ID]; k != nil && k.process != nil && k.process.token == m.Token {
			k.process.end(runtime.ExitStatus{}, fmt.Errorf("register process %d: %s", k.process.pid, m.Text))
		}
		return
	}
	call := c.calls[m.Seq]
	if call == nil {
		closeAll(fds)
		if k := c.kept[m.ID]; k != nil && m.Text != "" { // a Hold that failed
			k.holdErr = errors.New(m.Text)
		}
		return
	}
	call.names, call.fds = append(call.names, m.Names...), append(call.fds, fds...)
	if m.Text != "" {
		call.err = errors.New(m.Text)
	} else if len(call.names) != len(call.fds) {
		call.err = errors.New("files were lost on the way: too many are open")
	}
	if !m.More {
		delete(c.calls, m.Seq)
		close(call.done)
	}
}

func checkNames(id string, names []string) error {
	if id == "" || len(id) > wire.MaxName {
		return fmt.Errorf("keeper id %q: 1 to %d bytes are allowed", id, wire.MaxName)
	}
	for _, n := range names {
		if len(n) > wire.MaxName {
			return fmt.Errorf("name of a held file %q: longer than %d bytes", n, wire.MaxName)
		}
	}
	return nil
}
