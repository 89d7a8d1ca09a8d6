package keeper

import (
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
	c.mu.Lock()
	err := c.at(id).holdErr
	c.last++
	m := wire.Message{Op: wire.OpHold, ID: id, Names: names, Seq: c.last}
	c.mu.Unlock()
	if err == nil {
		err = c.sendParts(m, files)
	}
	if err != nil {
		return fmt.Errorf("hold files of %s: %w", id, err)
	}
	return nil
}

// Take returns duplicates of the files held under id, by name; none when there are none. A file that is
// non-blocking works with deadlines and Go's poller.
func (c *Client) Take(id string) (map[string]*os.File, error) {
	answer, err := c.request(wire.Message{Op: wire.OpTake, ID: id})
	if err != nil {
		closeFiles(answer.files)
		return nil, fmt.Errorf("take files of %s: %w", id, err)
	}
	files := make(map[string]*os.File, len(answer.names))
	for i, name := range answer.names {
		files[name] = answer.files[i]
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
	k.process = &process{pid: pid, token: c.last, ended: make(chan struct{})}
	m := wire.Message{Op: wire.OpRegister, ID: id, PID: int32(pid), Token: c.last}
	c.mu.Unlock()
	if err := c.sock.send(m, nil); err != nil {
		return fmt.Errorf("register process %d as %s: %w", pid, id, err)
	}
	return nil
}

// Wait returns how id's process ended, once it has; as often as asked, until Release. An end that this
// engine knows of is returned also when the keeper is lost.
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
	case <-c.lost:
		select {
		case <-p.ended:
			return p.result(id)
		default:
			return runtime.ExitStatus{}, fmt.Errorf("wait for %s: %w", id, ErrLost)
		}
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
	if k != nil && k.process != nil {
		k.process.end(runtime.ExitStatus{}, ErrReleased)
	}
	c.mu.Unlock()
	if k == nil {
		return nil
	}
	if err := c.sock.send(wire.Message{Op: wire.OpRelease, ID: id}, nil); err != nil {
		return fmt.Errorf("release %s: %w", id, err)
	}
	return nil
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
	answer := &call{done: make(chan struct{})}
	c.mu.Lock()
	c.last++
	m.Seq = c.last
	c.calls[m.Seq] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, m.Seq)
		c.mu.Unlock()
	}()
	if err := c.sock.send(m, nil); err != nil {
		return &call{}, err
	}
	select {
	case <-answer.done:
		return answer, answer.err
	case <-c.lost:
		return &call{}, ErrLost
	}
}

// sendParts sends m in as many messages as its files need.
func (c *Client) sendParts(m wire.Message, files map[string]*os.File) error {
	names := m.Names
	for m.More = true; m.More; {
		m.Names = names[:min(len(names), wire.MaxFiles)]
		names = names[len(m.Names):]
		m.More = len(names) > 0
		part := make([]*os.File, len(m.Names))
		for i, name := range m.Names {
			part[i] = files[name]
		}
		if err := c.sock.send(m, part); err != nil {
			return err
		}
	}
	return nil
}

// read handles everything that comes from the keeper until it is gone.
func (c *Client) read() {
	defer close(c.lost)
	for {
		m, files, err := c.sock.receive()
		if errors.Is(err, ErrLost) {
			return
		}
		if err != nil {
			closeFiles(files)
			continue
		}
		c.mu.Lock()
		c.heard(m, files)
		c.mu.Unlock()
	}
}

// heard applies one message; the caller holds mu.
func (c *Client) heard(m wire.Message, files []*os.File) {
	status := runtime.ExitStatus{Code: int(m.Code), Signal: int(m.Signal), At: time.Unix(0, m.At)}
	switch m.Op {
	case wire.OpEntry:
		k := c.at(m.ID)
		if m.State&wire.Registered == 0 {
			return
		}
		k.process = &process{pid: int(m.PID), token: m.Token, ended: make(chan struct{})}
		if m.State&wire.Exited != 0 {
			k.process.end(status, nil)
		}
	case wire.OpExit:
		// The token tells a late message about a released process from the news about its successor.
		if k := c.kept[m.ID]; k != nil && k.process != nil && k.process.token == m.Token {
			k.process.end(status, nil)
		}
	case wire.OpReply:
		c.replied(m, files)
	default:
		closeFiles(files)
	}
}

func (c *Client) replied(m wire.Message, files []*os.File) {
	if m.Token != 0 { // a refused registration
		if k := c.kept[m.ID]; k != nil && k.process != nil && k.process.token == m.Token {
			k.process.end(runtime.ExitStatus{}, fmt.Errorf("register process %d: %s", k.process.pid, m.Text))
		}
		return
	}
	call := c.calls[m.Seq]
	if call == nil {
		closeFiles(files)
		if k := c.kept[m.ID]; k != nil && m.Text != "" { // a Hold that failed
			k.holdErr = errors.New(m.Text)
		}
		return
	}
	call.names, call.files = append(call.names, m.Names...), append(call.files, files...)
	if m.Text != "" {
		call.err = errors.New(m.Text)
	} else if len(call.names) != len(call.files) {
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

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
