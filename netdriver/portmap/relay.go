package portmap

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
	"tutti/netdriver/portmap/relay"
)

// answerTime is how long the relay may take for an answer, on a machine that hardly moves.
const answerTime = 20 * time.Second

var errRelayGone = errors.New("the relay has ended")

// RelayConfig is what a [Relay] is made from.
type RelayConfig struct {
	Host *netns.NS
	// Program opens the program to start; its argv[0] says what it is to be. The file is closed once it runs.
	Program func() (*os.File, error)
	// Keep puts the control socket into safekeeping, where it outlives this process, until Release.
	Keep    func(control *os.File) error
	Release func() error
	Log     *slog.Logger
}

// Relay is the program of package relay: started when the first connection comes that the firewall's rules do not take,
// found again by the next engine, started anew should it die.
type Relay struct {
	cfg RelayConfig
	log *slog.Logger

	starting sync.Mutex
	mu       sync.Mutex
	control  *relay.Control // nil: it does not run
	child    *exec.Cmd      // nil: an earlier engine has started it
	seq      uint64
	waiting  map[uint64]chan error
	handed   map[*Socket]bool
	left     map[string]relay.Message // what gives up the connections of ports that were left, by the ports' names
	closed   bool
	readers  sync.WaitGroup
}

// NewRelay returns the relay of a host, which does not run yet.
func NewRelay(c RelayConfig) *Relay {
	// No answer to an earlier engine may be taken for one to this: its numbers are lower.
	seq := uint64(time.Now().UnixNano()) //nolint:gosec // positive
	return &Relay{cfg: c, log: c.Log, seq: seq, waiting: map[uint64]chan error{}, handed: map[*Socket]bool{}, left: map[string]relay.Message{}}
}

// Adopt takes over the relay that an earlier engine had started, by the control socket that was kept.
func (r *Relay) Adopt(control *os.File) error {
	raw, err := control.SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	var failed error
	err = raw.Control(func(n uintptr) { fd, failed = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("adopt the relay: %w", err)
	}
	r.use(relay.NewControl(fd), nil)
	return nil
}

// Stop ends the program, unless it has sockets. It is started again when it is needed.
func (r *Relay) Stop() error {
	r.starting.Lock()
	defer r.starting.Unlock()
	r.mu.Lock()
	control, child := r.control, r.child
	if control == nil || len(r.handed) > 0 {
		r.mu.Unlock()
		return nil
	}
	left := r.left
	r.left = map[string]relay.Message{}
	r.mu.Unlock()
	for name, m := range left { // whose containers have ended
		if err := r.ask(control, m, -1); err != nil && !errors.Is(err, errRelayGone) {
			r.log.Error("end the relay of a port", "port", name, "error", err)
		}
	}
	r.mu.Lock()
	if r.control != control { // it has died meanwhile
		r.mu.Unlock()
		return nil
	}
	r.control, r.child = nil, nil // so that its end is none that anybody wonders about
	r.mu.Unlock()
	err := errors.Join(r.cfg.Release(), control.Close())
	r.readers.Wait()
	if child != nil {
		_ = child.Wait() // it has nothing to say
	}
	return err
}

// Close lets go of the program, which goes on as its control socket is kept.
func (r *Relay) Close() {
	r.starting.Lock()
	defer r.starting.Unlock()
	r.mu.Lock()
	r.closed = true
	control := r.control
	r.control, r.child = nil, nil
	r.mu.Unlock()
	if control != nil {
		_ = control.Close()
	}
	r.readers.Wait()
}

// hand gives the relay a socket, or tells it of another target.
func (r *Relay) hand(s *Socket) {
	for {
		s.mu.Lock()
		target, closed, fd := s.target, s.closed, s.fd
		if s.handed {
			fd = -1
		}
		s.mu.Unlock()
		if closed || !target.IsValid() {
			return
		}
		control, err := r.running()
		if err == nil {
			err = r.ask(control, relay.Message{Verb: relay.Lead, Proto: s.proto, Host: s.addr, Target: target}, fd)
		}
		if errors.Is(err, errRelayGone) {
			continue // another one is started
		}
		if err != nil {
			r.log.Error("relay a published port", "port", s.Name(), "error", err)
			return
		}
		s.mu.Lock()
		s.handed = true
		done := s.target == target
		s.mu.Unlock()
		r.mu.Lock()
		r.handed[s] = true
		r.mu.Unlock()
		if done {
			return
		}
	}
}

// drop makes the relay give up a port, if it has it, with its connections.
func (r *Relay) drop(s *Socket) { r.end(s, relay.Drop) }

// leave makes the relay give up a port, if it has it, but not its connections. A relay that an earlier engine has started may
// not know how, and ends them.
func (r *Relay) leave(s *Socket) {
	r.mu.Lock()
	ours := r.child != nil
	r.mu.Unlock()
	if ours {
		r.end(s, relay.Leave)
	} else {
		r.end(s, relay.Drop)
	}
}

func (r *Relay) end(s *Socket, verb string) {
	s.mu.Lock()
	has := s.handed || s.inherited
	s.handed, s.inherited = false, false
	s.mu.Unlock()
	r.mu.Lock()
	delete(r.handed, s)
	control := r.control
	if has && verb == relay.Leave {
		r.left[s.Name()] = relay.Message{Verb: relay.Drop, Proto: s.proto, Host: s.addr}
	}
	r.mu.Unlock()
	if !has || control == nil {
		return
	}
	err := r.ask(control, relay.Message{Verb: verb, Proto: s.proto, Host: s.addr}, -1)
	if err != nil && !errors.Is(err, errRelayGone) {
		r.log.Error("end the relay of a port", "port", s.Name(), "error", err)
	}
}

// ask sends a request and waits for the answer.
func (r *Relay) ask(control *relay.Control, m relay.Message, socket int) error {
	answer := make(chan error, 1)
	r.mu.Lock()
	if r.control != control {
		r.mu.Unlock()
		return errRelayGone
	}
	r.seq++
	m.Seq = r.seq
	r.waiting[m.Seq] = answer
	r.mu.Unlock()
	if err := control.Send(m, socket); err != nil {
		// The reader finds out that it is gone, and tells everybody who waits.
		r.log.Debug("send to the relay", "error", err)
	}
	late := time.NewTimer(answerTime)
	defer late.Stop()
	select {
	case err := <-answer:
		return err
	case <-late.C:
		return fmt.Errorf("the relay does not answer within %s", answerTime)
	}
}

// running returns the control socket of the relay, which it starts if there is none.
func (r *Relay) running() (*relay.Control, error) {
	r.starting.Lock()
	defer r.starting.Unlock()
	r.mu.Lock()
	control, closed := r.control, r.closed
	r.mu.Unlock()
	if closed {
		return nil, errors.New("the engine ends")
	}
	if control != nil {
		return control, nil
	}
	control, child, err := r.start()
	if err != nil {
		return nil, fmt.Errorf("start the relay: %w", err)
	}
	if err := r.cfg.Keep(control.File()); err != nil {
		r.log.Error("connections of the relay will not survive the engine", "error", err)
	}
	r.use(control, child)
	return control, nil
}

// start starts the program in the host's namespace.
func (r *Relay) start() (*relay.Control, *exec.Cmd, error) {
	program, err := r.cfg.Program()
	if err != nil {
		return nil, nil, err
	}
	defer program.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := relay.NewControl(pair[0]), os.NewFile(uintptr(pair[1]), "control") //nolint:gosec // a descriptor
	defer theirs.Close()
	cmd := &exec.Cmd{
		// By this process's pid: in the child the number may be one of those assigned to its files.
		Path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), program.Fd()), Args: []string{relay.Program},
		Dir: "/", Env: []string{}, Stderr: os.Stderr, ExtraFiles: []*os.File{theirs},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := r.cfg.Host.Do(cmd.Start); err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	return ours, cmd, nil
}

// use listens to a relay's answers in the background.
func (r *Relay) use(control *relay.Control, child *exec.Cmd) {
	r.mu.Lock()
	r.control, r.child = control, child
	r.mu.Unlock()
	r.readers.Go(func() {
		for {
			m, file, err := control.Receive()
			if file != nil {
				_ = file.Close() // it has none to give
			}
			if err != nil {
				break
			}
			r.mu.Lock()
			if w := r.waiting[m.Seq]; w != nil {
				delete(r.waiting, m.Seq)
				if m.Verb == relay.Done {
					w <- nil
				} else {
					w <- errors.New(m.Text)
				}
			}
			r.mu.Unlock()
		}
		r.lost(control, child)
	})
}

// lost tells everybody who waits that the relay is gone, and, unless that was wanted, watches the sockets that it had.
func (r *Relay) lost(control *relay.Control, child *exec.Cmd) {
	r.mu.Lock()
	wanted := r.control != control
	if !wanted {
		r.control, r.child = nil, nil
	}
	for seq, w := range r.waiting {
		delete(r.waiting, seq)
		w <- errRelayGone
	}
	if wanted {
		r.mu.Unlock()
		return
	}
	handed := r.handed
	r.handed, r.left = map[*Socket]bool{}, map[string]relay.Message{}
	r.mu.Unlock()
	_ = control.Close()
	r.log.Error("the relay of published ports has died: its connections are lost, another one is started when it is needed")
	if child != nil {
		_ = child.Wait()
	}
	for s := range handed {
		s.mu.Lock()
		if s.handed = false; !s.closed && s.watch == nil {
			s.startWatch()
		}
		s.mu.Unlock()
	}
}
