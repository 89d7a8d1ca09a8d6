package logs

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Names of the files in Pipes.Files.
const (
	nameStdout = "log.stdout"
	nameStderr = "log.stderr"
	nameStageR = "log.stage.r"
	nameStageW = "log.stage.w"
	nameIntent = "log.intent"
)

var pipeNames = []string{nameStdout, nameStderr, nameStageR, nameStageW, nameIntent}

// Pipes join a container's standard output and error to its log.
//
//	stdout ──► pipe ─┐
//	                 ├─ splice ──► staging pipe ── tee, read ──► records
//	stderr ──► pipe ─┘
//
// As long as the read ends, the staging pipe and the intent are open somewhere, what the container has written
// survives the engine.
//
// The container's ends are open for reading too, as a terminal's are: should everybody else who has a pipe open be killed,
// a write to it is still no error (SIGPIPE) and waits, and Reopen finds the pipe again among the container's descriptors.
type Pipes struct {
	// The container's ends. Nil after CloseChild and in Pipes made by FromFiles.
	Stdout, Stderr *os.File

	files    map[string]*os.File
	draining atomic.Bool
}

// NewPipes makes the pipes of one run of a container.
func NewPipes() (*Pipes, error) {
	p := &Pipes{files: map[string]*os.File{}}
	err := errors.Join(
		p.pipe(nameStdout, &p.Stdout),
		p.pipe(nameStderr, &p.Stderr),
		p.stage(),
	)
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("make log pipes: %w", err)
	}
	return p, nil
}

// pipe makes a pipe whose read end Go's poller can wait for; the container's end blocks.
func (p *Pipes) pipe(name string, child **os.File) error {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	defer unix.Close(fds[1])
	both, err := unix.Open(procPath(fds[1]), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fds[0], true)
	}
	if err != nil {
		unix.Close(fds[0])
		return fmt.Errorf("open pipe for writing: %w", err)
	}
	*child = os.NewFile(uintptr(both), name)
	p.files[name] = os.NewFile(uintptr(fds[0]), name)
	return nil
}

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func (p *Pipes) stage() error {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	p.files[nameStageR] = os.NewFile(uintptr(fds[0]), nameStageR)
	p.files[nameStageW] = os.NewFile(uintptr(fds[1]), nameStageW)
	note, err := newIntentFile()
	if err != nil {
		return err
	}
	p.files[nameIntent] = note
	return nil
}

// Files returns what a keeper has to hold so that nothing is lost. They remain the Pipes' own.
func (p *Pipes) Files() map[string]*os.File { return p.files }

// FromFiles makes Pipes of what a keeper has held. Files of other names are not touched.
func FromFiles(files map[string]*os.File) (*Pipes, error) {
	p := &Pipes{files: map[string]*os.File{}}
	for _, name := range pipeNames {
		f := files[name]
		if f == nil {
			return nil, fmt.Errorf("log pipes: %s is not among the held files", name)
		}
		p.files[name] = f
	}
	return p, nil
}

// CloseChild closes the container's ends, once the container has them: the capture ends when all writers have.
func (p *Pipes) CloseChild() error {
	var err error
	for _, f := range []**os.File{&p.Stdout, &p.Stderr} {
		if *f != nil {
			err = errors.Join(err, (*f).Close())
			*f = nil
		}
	}
	return err
}

// Drain makes a capture end when it has read what the pipes contain, also when somebody who outlives the
// container keeps an end of them open.
func (p *Pipes) Drain() {
	p.draining.Store(true)
	p.interrupt()
}

// interrupt makes those who wait for the container's output look again.
func (p *Pipes) interrupt() {
	for _, name := range []string{nameStdout, nameStderr} {
		_ = p.files[name].SetReadDeadline(time.Unix(1, 0)) // fails only on a closed file, where nobody waits
	}
}

// Close closes everything. No capture may be running.
func (p *Pipes) Close() error {
	err := p.CloseChild()
	for _, f := range p.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// descriptor returns f's number. It is valid as long as f is open, and leaves f as it is, unlike f.Fd.
func descriptor(f *os.File) (fd int, err error) {
	var raw syscall.RawConn
	if raw, err = f.SyscallConn(); err != nil {
		return -1, err
	}
	err = raw.Control(func(n uintptr) { fd = int(n) })
	return fd, err
}
