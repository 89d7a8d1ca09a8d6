// Command probe tells, as JSON on its standard output, what a container lets its program see and do. Its argument is a
// facts.Request as JSON, or "wait" to do nothing at all. Nothing that it tries changes the host, even where a container lets it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tutti/samples/testdata/probe/facts"
)

func main() {
	modes := map[string]func(){"calls": calls, "calls32": calls32, "wait": wait}
	if len(os.Args) == 2 && modes[os.Args[1]] != nil {
		modes[os.Args[1]]()
		return
	}
	var q facts.Request
	if len(os.Args) == 2 {
		if err := json.Unmarshal([]byte(os.Args[1]), &q); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	f := facts.Facts{Streams: descriptors(), Environ: os.Environ()} // first: everything else opens something
	process(&f)
	mounts(&f)
	paths(&f, &q)
	devices(&f)
	acts(&f)
	system(&f)
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		os.Exit(1)
	}
}

// descriptors lists those that were there when the program began.
func descriptors() []string {
	var open []string
	for fd := range 1024 {
		// Go's own are close-on-exec; what a program is started with cannot be.
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			open = append(open, strconv.Itoa(fd))
		}
	}
	return open
}

func process(f *facts.Facts) {
	f.Status, f.Files, f.Namespaces = map[string]string{}, map[string]string{}, map[string]string{}
	for line := range strings.Lines(read("/proc/self/status")) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			f.Status[key] = strings.TrimSpace(value)
		}
	}
	for _, name := range []string{
		"/proc/self/oom_score_adj", "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/cgroup", "/proc/self/attr/current",
		"/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/net/ipv4/ping_group_range", "/proc/sys/kernel/hostname",
		"/proc/self/coredump_filter", "/proc/self/loginuid",
	} {
		f.Files[name] = strings.TrimSpace(read(name))
	}
	f.Cwd, _ = os.Getwd()
	mask := syscall.Umask(0)
	syscall.Umask(mask)
	f.Umask = fmt.Sprintf("%04o", mask)
	f.Personal = personal()
	f.Signals = signals(f.Status)
	for _, kind := range []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"} {
		f.Namespaces[kind], _ = os.Readlink("/proc/self/ns/" + kind)
	}
	pids, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range pids {
		f.Processes = append(f.Processes, filepath.Base(p))
	}
	f.Limits = map[string][2]uint64{}
	for i, name := range limitNames {
		var l unix.Rlimit
		if unix.Prlimit(0, i, nil, &l) == nil {
			f.Limits[name] = [2]uint64{l.Cur, l.Max}
		}
	}
	for line := range strings.Lines(read("/proc/net/unix")) {
		if w := strings.Fields(line); len(w) == 8 && w[0] != "Num" {
			f.Sockets = append(f.Sockets, w[7])
		}
	}
}

// limitNames are in the order of their numbers, getrlimit(2).
var limitNames = strings.Fields("CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME")

// personal names the attributes of a process that a runtime may have forgotten to reset.
func personal() string {
	var odd []string
	for name, option := range map[string]int{
		"securebits": unix.PR_GET_SECUREBITS, "keepcaps": unix.PR_GET_KEEPCAPS, "thp_disable": unix.PR_GET_THP_DISABLE,
		"subreaper": -unix.PR_GET_CHILD_SUBREAPER, "pdeathsig": -unix.PR_GET_PDEATHSIG,
	} {
		value := int32(0)
		if option < 0 { // into a variable
			_, _, _ = unix.RawSyscall(unix.SYS_PRCTL, uintptr(-option), pointer(&value), 0)
		} else if r, err := unix.PrctlRetInt(option, 0, 0, 0, 0); err == nil {
			value = int32(r) //nolint:gosec // small numbers
		}
		if value != 0 {
			odd = append(odd, name+" "+strconv.Itoa(int(value)))
		}
	}
	if p, _, _ := unix.RawSyscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0); p != 0 {
		odd = append(odd, "personality "+strconv.Itoa(int(p)))
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 1 {
		odd = append(odd, "dumpable "+strconv.Itoa(dumpable))
	}
	slices.Sort(odd)
	return strings.Join(odd, ", ")
}

// signals lists what is ignored or blocked, but for SIGURG's sort that the Go runtime itself handles.
func signals(status map[string]string) []int {
	var found []int
	for _, key := range []string{"SigIgn", "SigBlk"} {
		mask, _ := strconv.ParseUint(status[key], 16, 64)
		for n := range 64 {
			if mask&(1<<n) != 0 {
				found = append(found, n+1)
			}
		}
	}
	return found
}

func mounts(f *facts.Facts) {
	for line := range strings.Lines(read("/proc/self/mountinfo")) {
		w := strings.Fields(line)
		dash := slices.Index(w, "-")
		if dash < 6 || len(w) < dash+4 {
			continue
		}
		m := facts.Mount{
			Root: w[3], Target: w[4], Type: w[dash+1], Source: w[dash+2],
			Options: strings.Split(w[5], ","), Super: strings.Split(w[dash+3], ","),
		}
		for _, o := range w[6:dash] {
			m.Shared = m.Shared || strings.HasPrefix(o, "shared:")
			m.Slave = m.Slave || strings.HasPrefix(o, "master:")
		}
		f.Mounts = append(f.Mounts, m)
	}
}

// system asks for the verdicts on system calls in processes of their own, for the means to ask cannot be taken back.
func system(f *facts.Facts) {
	f.Calls, f.ByArgument = map[string][]int{}, map[string]int{}
	for _, mode := range []string{"calls", "calls32"} {
		out, err := exec.Command("/proc/self/exe", mode).Output()
		if err != nil {
			f.Acts[mode] = err.Error()
			continue
		}
		var part facts.Facts
		if err := json.Unmarshal(out, &part); err != nil {
			f.Acts[mode] = err.Error()
			continue
		}
		for k, v := range part.Calls {
			f.Calls[k] = v
		}
		for k, v := range part.ByArgument {
			f.ByArgument[k] = v
		}
	}
}

func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(b), "\x00")
}

// wait does nothing until it is killed.
func wait() {
	for {
		_ = unix.Pause() // interrupted by the Go runtime's own signals
	}
}
