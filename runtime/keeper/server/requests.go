package server

import (
	"golang.org/x/sys/unix"

	"tutti/runtime/keeper/wire"
)

// serveConn handles the requests that have arrived, in order.
func (k *keeper) serveConn() {
	for len(k.conn.out) < queueLimit {
		m, fds, ok := k.conn.receive()
		if !ok {
			return
		}
		k.handle(m, fds)
	}
}

func (k *keeper) handle(m wire.Message, fds []int) {
	switch m.Op {
	case wire.OpHold:
		k.hold(m, fds)
	case wire.OpTake:
		k.take(m)
	case wire.OpRegister:
		k.register(m)
	case wire.OpAdopt:
		k.adopt(m, fds)
	case wire.OpProgram:
		k.program(m, fds)
	case wire.OpRelease:
		closeAll(k.table.release(m.ID))
	case wire.OpList:
		k.list(m)
	case wire.OpReady:
		k.engineReady(m.Text)
	case wire.OpStopping:
		k.engine.stopping = true
		k.engine.ready = false
	default:
		closeAll(fds)
		k.conn.send(wire.Message{Op: wire.OpReply, Seq: m.Seq, Text: "unknown request"}, nil)
	}
}

// program sets the file of the next start. An engine that hands over also sends the file that it was started from, which
// may have no path any more.
func (k *keeper) program(m wire.Message, fds []int) {
	k.engine.argv[0] = m.Text
	if len(fds) > 0 {
		k.engine.setBinary(fds[0])
	}
	closeAll(fds)
}

// hold applies a Hold with its last part, so that an engine that dies between two parts has held nothing.
func (k *keeper) hold(m wire.Message, fds []int) {
	files := k.conn.staged[m.Seq]
	for i, name := range m.Names {
		files = append(files, file{name: name, fd: fds[i]})
	}
	if m.More {
		k.conn.staged[m.Seq] = files
		return
	}
	delete(k.conn.staged, m.Seq)
	closeAll(k.table.hold(m.ID, files))
}

// take answers with duplicates, in parts.
func (k *keeper) take(m wire.Message) {
	var files []file
	if e := k.table.entries[m.ID]; e != nil {
		files = e.files
	}
	for {
		part := files[:min(len(files), wire.MaxFiles)]
		files = files[len(part):]
		answer := wire.Message{Op: wire.OpReply, Seq: m.Seq, More: len(files) > 0}
		var fds []int
		for _, f := range part {
			fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				closeAll(fds)
				k.conn.send(wire.Message{Op: wire.OpReply, Seq: m.Seq, Text: "duplicate " + f.name + ": " + err.Error()}, nil)
				return
			}
			answer.Names, fds = append(answer.Names, f.name), append(fds, fd)
		}
		k.conn.send(answer, fds)
		if !answer.More {
			return
		}
	}
}

func (k *keeper) register(m wire.Message) {
	e, err := k.table.register(m.ID, int(m.PID), m.Token, isChild)
	if err != nil {
		k.conn.send(wire.Message{Op: wire.OpReply, ID: m.ID, Token: m.Token, Text: err.Error()}, nil)
		return
	}
	if e.exited {
		k.tellExit(e)
	}
}

// list answers with one OpEntry per id and a closing OpReply.
func (k *keeper) list(m wire.Message) {
	for _, e := range k.table.entries {
		var state byte
		if e.registered {
			state |= wire.Registered
		}
		if e.exited {
			state |= wire.Exited
		}
		if e.end.unseen {
			state |= wire.Unseen
		}
		k.conn.send(wire.Message{
			Op: wire.OpEntry, Seq: m.Seq, More: true, ID: e.id, PID: int32(e.pid), Token: e.token, State: state,
			Code: e.end.code, Signal: e.end.signal, At: e.end.at,
		}, nil)
	}
	k.conn.send(wire.Message{Op: wire.OpReply, Seq: m.Seq}, nil)
}

func (k *keeper) tellExit(e *entry) {
	var state byte
	if e.end.unseen {
		state = wire.Unseen
	}
	k.conn.send(wire.Message{
		Op: wire.OpExit, ID: e.id, PID: int32(e.pid), Token: e.token, State: state,
		Code: e.end.code, Signal: e.end.signal, At: e.end.at,
	}, nil)
}

// isChild tells whether pid is a child of the keeper that has not been reaped; a zombie counts.
func isChild(pid int) bool {
	return unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil) == nil
}
