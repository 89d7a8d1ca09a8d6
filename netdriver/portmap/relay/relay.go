// Package relay is a tiny program of its own that leads connections from ports of the host into containers where the
// firewall cannot: [::1], IPv6 to a container without, a host without iptables, ports that are to obey the host's INPUT
// chain.
//
// It is a process apart so that connections outlive the engine: an engine that is killed takes none along, and the next
// one finds the control socket at the keeper. It listens on nothing by itself. The engine opens the ports and hands their
// sockets over when somebody connects for the first time, so on most hosts it never runs.
//
// # Control
//
// On descriptor 3 it has a SOCK_SEQPACKET socket, on which each request (see [Message]) is answered. When all others have
// closed the other end (engine and keeper are gone, or nothing is published any more) it gives the ports back, relays the
// connections that there are to their end, and exits.
//
// It is linked into tutti-init, hence the bare system calls: package net would double that program's size.
package relay

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Program is the name (argv[0]) that this program runs under.
const Program = "tutti-relay"

// controlFD is the descriptor of the control socket.
const controlFD = 3

// Main serves until the control socket is closed and no connection is left. It returns the exit status.
func Main() int {
	unix.CloseOnExec(controlFD)
	if err := unix.SetNonblock(controlFD, true); err != nil {
		fmt.Fprintln(os.Stderr, Program+": it is started by tutti's engine only:", err)
		return 1
	}
	control := NewControl(controlFD)
	s := &server{ports: map[string]*port{}, left: map[string][]*port{}}
	for {
		m, file, err := control.Receive()
		if errors.Is(err, errMalformed) {
			continue // of a language that this version does not speak: without an answer it is taken for dead
		}
		if err != nil {
			break
		}
		answer := Message{Verb: Done, Seq: m.Seq}
		if err := s.handle(m, file); err != nil {
			answer.Verb, answer.Text = Failed, err.Error()
		}
		if err := control.Send(answer, -1); err != nil {
			break
		}
	}
	_ = control.Close()
	s.end()
	return 0
}

// server is what is relayed. Only the goroutine of Main uses it.
type server struct {
	ports map[string]*port
	left  map[string][]*port // not served any more, but their connections go on
}

// port is a port of the host that is served.
type port struct {
	proto string
	file  *os.File // the listening or datagram socket
	work  sync.WaitGroup

	mu     sync.Mutex
	target netip.AddrPort
	open   map[*connection]bool
	closed bool
}

func (s *server) handle(m Message, file *os.File) error {
	p := s.ports[m.name()]
	switch {
	case m.Verb == Drop:
		closeFile(file)
		for _, left := range s.left[m.name()] {
			left.end(true)
		}
		delete(s.left, m.name())
		if p != nil {
			delete(s.ports, m.name())
			p.end(true)
		}
		return nil
	case m.Verb == Leave:
		closeFile(file)
		if p != nil {
			delete(s.ports, m.name())
			p.end(false)
			s.left[m.name()] = append(slices.DeleteFunc(s.left[m.name()], (*port).idle), p)
		}
		return nil
	case m.Verb != Lead:
		closeFile(file)
		return errMalformed
	case file == nil && p == nil:
		return errors.New("no such port: its socket has to come along")
	}
	if p != nil {
		closeFile(file) // the same socket again: from an engine that does not know of it
		p.lead(m.Target)
		return nil
	}
	p = &port{proto: m.Proto, file: file, target: m.Target, open: map[*connection]bool{}}
	s.ports[m.name()] = p
	p.work.Go(p.serve)
	return nil
}

// end gives all ports back and waits until their connections have ended.
func (s *server) end() {
	for _, p := range s.ports {
		p.end(false)
	}
	for _, p := range s.ports {
		p.work.Wait()
	}
	for _, all := range s.left {
		for _, p := range all {
			p.work.Wait()
		}
	}
}

// idle tells whether a port has no connections.
func (p *port) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open) == 0
}

// lead leads to another target from now on: connections to the one before end.
func (p *port) lead(target netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.target != target {
		p.target = target
		p.cut()
	}
}

// serve relays until the port is ended.
func (p *port) serve() {
	if p.proto == "udp" {
		p.relayDatagrams()
	} else {
		p.acceptStreams()
	}
}

// end stops serving; with cut its connections end, too, and it waits for that.
func (p *port) end(cut bool) {
	p.mu.Lock()
	p.closed = true
	if cut || p.proto == "udp" {
		p.cut()
	}
	p.mu.Unlock()
	_ = p.file.Close()
	if cut {
		p.work.Wait()
	}
}

// cut ends all connections. p.mu is held.
func (p *port) cut() {
	for c := range p.open {
		c.abort()
	}
}

// enter begins a connection, whose socket to the target is not connected yet, unless the port has been ended.
func (p *port) enter(client *os.File) (c *connection, target netip.AddrPort, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, target, os.ErrClosed
	}
	server, err := p.socket()
	if err != nil {
		return nil, target, err
	}
	c = &connection{client, server}
	p.open[c] = true
	return c, p.target, nil
}

func (p *port) leave(c *connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

func closeFile(f *os.File) {
	if f != nil {
		_ = f.Close()
	}
}
