package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"tutti/samples/testdata/probe/facts"
)

// How the verdict on a system call is asked for without making it: a second filter, of this thread alone, hands every
// call that carries a marker as its sixth argument to a goroutine of this program, which answers with an error of its
// own. The kernel takes the strictest of two filters, and an error (SECCOMP_RET_ERRNO) is stricter than that: what comes
// back is the container's verdict, or the marker's error when the container allows the call. No call is ever made.

const (
	marker    = 0x7475747
	allowed   = 1000 // the error that means: the container's filter lets it through
	highest   = 480  // past the last system call there is
	x32       = 0x40000000
	setFilter = 1      // SECCOMP_SET_MODE_FILTER
	listener  = 1 << 3 // SECCOMP_FILTER_FLAG_NEW_LISTENER
	notify    = 0x7fc00000
	receive   = 0xc0502100 // SECCOMP_IOCTL_NOTIF_RECV
	send      = 0xc0182101 // SECCOMP_IOCTL_NOTIF_SEND
)

// notification is struct seccomp_notif, answer struct seccomp_notif_resp of seccomp_unotify(2).
type notification struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type answer struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

func pointer[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// install puts the second filter over the calling thread, which must be locked.
func install() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16 + 8*5},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: marker},
		{Code: unix.BPF_RET | unix.BPF_K, K: notify},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, setFilter, listener, pointer(&prog))
	runtime.KeepAlive(code)
	if errno != 0 {
		return fmt.Errorf("install a filter: %w", errno)
	}
	go func() {
		for {
			var n notification
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, receive, pointer(&n)); errno != 0 {
				continue // the caller was interrupted
			}
			a := answer{id: n.id, err: -allowed}
			_, _, _ = unix.Syscall(unix.SYS_IOCTL, fd, send, pointer(&a))
		}
	}()
	return nil
}

func verdict(nr, arg0, arg1 uintptr) int {
	for {
		_, _, errno := unix.Syscall6(nr, arg0, arg1, 0, 0, 0, marker)
		switch errno {
		case unix.EINTR:
		case allowed:
			return 0
		case 0:
			return -1 // the call was made: the filter is not there
		default:
			return int(errno)
		}
	}
}

func begin() {
	runtime.LockOSThread()
	if err := install(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// calls asks for every number of the native architecture, and of x32 where that is another.
func calls() {
	begin()
	f := facts.Facts{Calls: map[string][]int{}, ByArgument: map[string]int{}}
	for nr := range uintptr(highest) {
		if runtime.GOARCH == "amd64" && (nr == 335 || nr == 336) { // uretprobe and uprobe, which seccomp never sees
			f.Calls["native"], f.Calls["x32"] = append(f.Calls["native"], -1), append(f.Calls["x32"], -1)
			continue
		}
		f.Calls["native"] = append(f.Calls["native"], verdict(nr, 0, 0))
		if runtime.GOARCH == "amd64" {
			f.Calls["x32"] = append(f.Calls["x32"], verdict(nr|x32, 0, 0))
		}
	}
	for family := range uintptr(48) {
		f.ByArgument[fmt.Sprint("socket ", family)] = verdict(unix.SYS_SOCKET, family, 0)
	}
	for _, p := range []uintptr{0, 8, 0x20000, 0x20008, 0xffffffff, 0x40000, 0x400000, 1} {
		f.ByArgument[fmt.Sprintf("personality %#x", p)] = verdict(unix.SYS_PERSONALITY, p, 0)
	}
	for bit := range 32 {
		f.ByArgument[fmt.Sprintf("clone %#x", uint32(1)<<bit)] = verdict(unix.SYS_CLONE, uintptr(1)<<bit, 0)
	}
	print(&f)
}

// calls32 asks for those of the 32 bit architecture of the same processor.
func calls32() {
	f := facts.Facts{Calls: map[string][]int{}}
	if has32 {
		begin()
		for nr := range uint32(highest) {
			f.Calls["32 bit"] = append(f.Calls["32 bit"], verdict32(nr))
		}
	}
	print(&f)
}

func print(f *facts.Facts) {
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		os.Exit(1)
	}
}
