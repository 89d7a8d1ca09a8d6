package server

import (
	"errors"
	"slices"
)

// file is a descriptor held under a name.
type file struct {
	name string
	fd   int
}

// status is how a process ended.
type status struct {
	code, signal byte
	at           int64 // nanoseconds since 1970
	unseen       bool  // nobody could see how
}

// entry is everything kept under one id: files, a process, its end.
type entry struct {
	id         string
	files      []file
	pid        int
	token      uint64
	registered bool
	exited     bool
	end        status
	stranger   *stranger // the process is no child of the keeper's; nil once it has ended
}

// unclaimedExits bounds the memory of exits whose pid nobody has registered. Nearly all of them are orphans of
// containers that share the host's pid namespace and are never asked for; one that is waited for is registered
// within microseconds.
const unclaimedExits = 512

type unclaimed struct {
	pid int
	end status
}

// table is the keeper's memory. It knows no system call: the caller reaps, closes descriptors and says
// whether a pid is still a child, so that the rules about reused pids can be tested as data.
type table struct {
	entries map[string]*entry
	live    map[int]*entry // registered children that are not yet reaped, by pid
	strange []*entry       // with processes that are no children and run
	lost    [unclaimedExits]unclaimed
	next    int // index in lost to be overwritten
}

var (
	errRegistered = errors.New("another process is registered under this id")
	errPIDTaken   = errors.New("this process is registered under another id")
	errNoChild    = errors.New("no such child process")
	errAgain      = errors.New("this process is registered under this id already")
)

func newTable() table {
	return table{entries: map[string]*entry{}, live: map[int]*entry{}}
}

func (t *table) at(id string) *entry {
	e := t.entries[id]
	if e == nil {
		e = &entry{id: id}
		t.entries[id] = e
	}
	return e
}

// hold adds files to id and returns the descriptors that a new file of the same name replaced.
func (t *table) hold(id string, files []file) (replaced []int) {
	e := t.at(id)
next:
	for _, f := range files {
		for i := range e.files {
			if e.files[i].name == f.name {
				replaced = append(replaced, e.files[i].fd)
				e.files[i].fd = f.fd
				continue next
			}
		}
		e.files = append(e.files, f)
	}
	return replaced
}

// register makes pid the process of id. isChild tells whether pid is, now, a child that has not been reaped.
//
// The process may have ended, and been reaped, before its registration arrived. Its pid may then belong to
// another process already, and an older process of the same pid may have left an exit behind. So an exit
// seen earlier counts only when no child of that pid exists, and of several the latest counts.
func (t *table) register(id string, pid int, token uint64, isChild func(pid int) bool) (*entry, error) {
	if e := t.entries[id]; e != nil && e.registered {
		if e.pid != pid {
			return nil, errRegistered
		}
		e.token = token // the same again, by a new engine
		return e, nil
	}
	if t.live[pid] != nil {
		return nil, errPIDTaken
	}
	end, ended := t.claim(pid)
	switch {
	case isChild(pid):
		ended = false
	case !ended:
		return nil, errNoChild
	}
	e := t.at(id)
	e.pid, e.token, e.registered = pid, token, true
	e.exited, e.end = ended, end
	if !ended {
		e.end = status{}
		t.live[pid] = e
	}
	return e, nil
}

// adopt makes a process that is no child the process of id; end is how it ended, should it have, and s then nil.
func (t *table) adopt(id string, pid int, token uint64, s *stranger, end status) error {
	if e := t.entries[id]; e != nil && e.registered {
		if e.pid != pid {
			return errRegistered
		}
		e.token = token // the same again, by a new engine
		return errAgain
	}
	e := t.at(id)
	e.pid, e.token, e.registered, e.stranger = pid, token, true, s
	e.exited, e.end = s == nil, end
	if s != nil {
		t.strange = append(t.strange, e)
	}
	return nil
}

// strangerEnded records the end of a process that was adopted.
func (t *table) strangerEnded(e *entry, end status) {
	e.exited, e.end, e.stranger = true, end, nil
	t.strange = slices.DeleteFunc(t.strange, func(o *entry) bool { return o == e })
}

// running counts the registered processes that have not ended.
func (t *table) running() int { return len(t.live) + len(t.strange) }

// claim takes every remembered exit of pid and returns the latest.
func (t *table) claim(pid int) (end status, found bool) {
	for i := 1; i <= unclaimedExits; i++ {
		u := &t.lost[(t.next-i+unclaimedExits)%unclaimedExits]
		if u.pid != pid {
			continue
		}
		if !found {
			end, found = u.end, true
		}
		*u = unclaimed{}
	}
	return end, found
}

// reaped records that child pid ended. It returns the entry that waits for it, or nil when nobody registered it.
func (t *table) reaped(pid int, end status) *entry {
	e := t.live[pid]
	if e == nil {
		t.lost[t.next] = unclaimed{pid: pid, end: end}
		t.next = (t.next + 1) % unclaimedExits
		return nil
	}
	delete(t.live, pid)
	e.exited, e.end = true, end
	return e
}

// release forgets id and returns the descriptors that were held for it. Forgetting twice is no error.
func (t *table) release(id string) (fds []int) {
	e := t.entries[id]
	if e == nil {
		return nil
	}
	delete(t.entries, id)
	if e.registered && !e.exited && e.stranger == nil {
		delete(t.live, e.pid)
	}
	if e.stranger != nil {
		fds = append(fds, e.stranger.pidfd, e.stranger.stat)
		t.strangerEnded(e, status{})
	}
	for _, f := range e.files {
		fds = append(fds, f.fd)
	}
	return fds
}
