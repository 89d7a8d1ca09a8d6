// Package netns creates network namespaces and runs code inside them. It is the only
// package of tutti that enters a network namespace.
//
// A namespace is held by an open file descriptor, never by a mount: when the last
// descriptor, socket and process is gone, so is the namespace with every link in it.
// A crash therefore leaves nothing behind.
//
// # Threads
//
// The network namespace belongs to the thread, see setns(2), and goroutines move between
// threads. Three rules keep a namespace from leaking into unrelated goroutines:
//
//   - One long-lived locked thread creates all namespaces and steps back to the process's
//     own after each. A thread that stayed would keep the last namespace alive.
//   - [NS.Do] enters on a fresh goroutine with a locked thread. If stepping back fails the
//     goroutine ends while locked, and the Go runtime destroys the thread.
//   - The main goroutine is locked to the main thread from init on. The Go runtime cannot
//     destroy the main thread: it would park it inside the foreign namespace, and
//     /proc/<pid>/ns/net would show that one for the whole process.
package netns

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Locks the main goroutine, which runs all init functions, to the main thread.
func init() { runtime.LockOSThread() }

// NS is an open network namespace. A nil *NS stands for the process's own namespace and
// is valid for every method. The methods may be called concurrently, Close last.
type NS struct {
	file  *os.File
	spare atomic.Int32 // 1 + a socket of rtnetlink that nobody has asked for yet
}

// New returns a new network namespace prepared for a container, which the caller has to
// Close. Its links are down and it has the system settings of [containerSysctls].
func New() (*NS, error) {
	return create(containerSysctls)
}

// NewBare returns a new network namespace with the kernel's own settings, which the
// caller has to Close. Tests use it in place of a host.
func NewBare() (*NS, error) {
	return create(nil)
}

// Open opens the network namespace at path, such as /proc/1234/ns/net.
func Open(path string) (*NS, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		_ = f.Close()
		return nil, fmt.Errorf("open network namespace: %s is no network namespace", path)
	}
	return &NS{file: f}, nil
}

// FD returns the descriptor of the namespace. It is valid until Close.
func (ns *NS) FD() int { return int(ns.file.Fd()) }

// Path returns a path by which any process of root can open the namespace as long as it
// is held open here: /proc/<pid>/fd/<n>.
func (ns *NS) Path() string {
	if ns == nil {
		return fmt.Sprintf("/proc/%d/ns/net", os.Getpid())
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.FD())
}

// Inode is the namespace's number, which tells it from all others that exist.
func (ns *NS) Inode() (uint64, error) {
	path := "/proc/self/ns/net"
	if ns != nil {
		path = ns.Path()
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("look at network namespace: %w", err)
	}
	return st.Ino, nil
}

// Close gives up the hold on the namespace. Closing twice is no error.
func (ns *NS) Close() {
	if ns == nil {
		return
	}
	_ = ns.file.Close() // a second close is the only possible error
	if spare := ns.spare.Swap(0); spare != 0 {
		_ = unix.Close(int(spare - 1))
	}
}

// Do runs f with the calling thread inside the namespace and returns its error. What f
// opens or starts on this goroutine (sockets, /proc/sys/net, child processes) belongs to
// the namespace for good; goroutines that f starts do not. Entering costs about 20 µs.
func (ns *NS) Do(f func() error) error {
	if ns == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer close(done) // tells the caller even if f ends the goroutine (t.FailNow)
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("open the thread's network namespace: %w", err)
			return
		}
		defer home.Close()
		if err := unix.Setns(ns.FD(), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		err = f()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		} // else the thread dies with this goroutine
		done <- err
	}()
	return <-done
}

// creator is the one thread that creates namespaces.
var creator = struct {
	once     sync.Once
	requests chan request
}{requests: make(chan request)}

type request struct {
	sysctls []sysctl
	reply   chan<- reply
}

type reply struct {
	ns  *NS
	err error
}

func create(settings []sysctl) (*NS, error) {
	creator.once.Do(func() { go serve(creator.requests) })
	answer := make(chan reply, 1)
	creator.requests <- request{settings, answer}
	r := <-answer
	if r.err != nil {
		return nil, fmt.Errorf("create network namespace: %w", r.err)
	}
	return r.ns, nil
}

// serve answers requests on its own thread for the life of the process. When the thread
// cannot step back into the process's namespace another one takes its place.
func serve(requests <-chan request) {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	for r := range requests {
		if err != nil {
			r.reply <- reply{err: err}
			continue
		}
		ns, failure := unshare(r.sysctls)
		back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) // before the reply: who closes the namespace at once must be its last holder
		r.reply <- reply{ns, failure}
		if back != nil {
			go serve(requests)
			return
		}
	}
}

// unshare moves the calling thread into a new network namespace and applies the settings.
func unshare(settings []sysctl) (*NS, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, os.NewSyscallError("unshare", err)
	}
	f, err := os.OpenFile("/proc/thread-self/ns/net", os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := write(settings); err != nil {
		_ = f.Close()
		return nil, err
	}
	socket, err := netlink()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	ns := &NS{file: f}
	ns.spare.Store(int32(socket + 1))
	return ns, nil
}
