package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrNoOutput says that no process has a container's pipes open any more.
var ErrNoOutput = errors.New("no process has the container's output open")

// Inodes identify the pipes of standard output and standard error: until the next boot no other pipe has these numbers.
func (p *Pipes) Inodes() (out [2]uint64, err error) {
	for i, name := range []string{nameStdout, nameStderr} {
		fd, err := descriptor(p.files[name])
		if err != nil {
			return out, err
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return out, os.NewSyscallError("fstat", err)
		}
		out[i] = st.Ino
	}
	return out, nil
}

// Reopen makes Pipes of those that the container's processes have open, by the numbers that Inodes gave: nobody else
// has them any more. What waits in the pipes is not lost. A pipe that no process has open gives nothing to read. The
// error is ErrNoOutput when there is neither.
func Reopen(pids []int, inodes [2]uint64) (*Pipes, error) {
	p := &Pipes{files: map[string]*os.File{}}
	found := 0
	for i, name := range []string{nameStdout, nameStderr} {
		f, err := reopen(pids, inodes[i], name)
		switch {
		case err == nil:
			found++
		case errors.Is(err, ErrNoOutput):
			f, err = ended(name)
		}
		if err != nil {
			_ = p.Close()
			return nil, fmt.Errorf("reopen log pipes: %w", err)
		}
		p.files[name] = f
	}
	if found == 0 {
		return nil, errors.Join(ErrNoOutput, p.Close())
	}
	if err := p.stage(); err != nil {
		return nil, errors.Join(fmt.Errorf("reopen log pipes: %w", err), p.Close())
	}
	return p, nil
}

// reopen opens the pipe with this number through a process that has it, proc_pid_fd(5).
func reopen(pids []int, inode uint64, name string) (*os.File, error) {
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid) + "/fd"
		l, err := os.ReadDir(dir)
		if err != nil {
			continue // it has ended
		}
		for _, d := range l {
			path := dir + "/" + d.Name()
			if target, err := os.Readlink(path); err != nil || target != "pipe:["+strconv.FormatUint(inode, 10)+"]" {
				continue
			}
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, &fs.PathError{Op: "open", Path: path, Err: err}
			}
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil || st.Ino != inode || st.Mode&unix.S_IFMT != unix.S_IFIFO {
				_ = unix.Close(fd) // the descriptor is another's meanwhile
				continue
			}
			return os.NewFile(uintptr(fd), name), nil
		}
	}
	return nil, ErrNoOutput
}

// ended returns the read end of a pipe that nobody writes to.
func ended(name string) (*os.File, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	_ = unix.Close(fds[1])
	return os.NewFile(uintptr(fds[0]), name), nil
}
