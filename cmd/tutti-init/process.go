package main

import (
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
	"tutti/runtime/wire"
)

// defaultPath is docker's, for an environment without PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// program is what is about to be executed, as its user.
type program struct {
	*wire.Process
	env []string
}

// prepare makes this thread all that the program will be, but for its final
// capabilities and the seccomp filter: those would forbid init's own calls.
func prepare(p *wire.Process, t *console) (*program, error) {
	id, err := lookup(p)
	if err != nil {
		return nil, err
	}
	if p.Terminal {
		if err := t.attach(); err != nil {
			return nil, err
		}
	}
	if err := ownStreams(id.uid); err != nil {
		return nil, err
	}
	if err := setRlimits(p.Rlimits); err != nil {
		return nil, err
	}
	if err := setAttributesOf(p); err != nil {
		return nil, err
	}
	if err := enterCwd(p.Cwd, &id); err != nil {
		return nil, err
	}
	if err := dropBounding(p.Caps.Bounding); err != nil {
		return nil, err
	}
	if err := become(&id); err != nil {
		return nil, err
	}
	unix.Umask(int(p.Umask))
	return &program{Process: p, env: withHome(p.Env, id.home)}, nil
}

// setRlimits sets resource limits on the process. The Go runtime of this program
// may have raised its own soft limit of open files; syscall.Exec undoes that,
// also when, as here, it cannot execute anything.
func setRlimits(limits []wire.Rlimit) error {
	_ = syscall.Exec("", nil, nil)
	var files syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return failed("read the limit of open files", err)
	}
	// Setting it through package syscall ends the undoing, which would be one more
	// call under the seccomp filter.
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return failed("restore the limit of open files", err)
	}
	for _, l := range limits {
		limit := unix.Rlimit{Cur: l.Soft, Max: l.Hard}
		if err := unix.Prlimit(0, int(l.Resource), &limit, nil); err != nil {
			return failed("set ulimit "+limitName(l.Resource), err)
		}
	}
	return nil
}

// limitNames are the resources of setrlimit(2) by their numbers.
const limitNames = "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime"

func limitName(resource uint32) string {
	if names := strings.Fields(limitNames); int(resource) < len(names) {
		return names[resource]
	}
	return itoa(int(resource))
}

// enterCwd enters the working directory, making it for the user if it is missing.
// It must be inside the container (CVE-2024-21626).
func enterCwd(path string, id *identity) error {
	step := "enter working directory " + path
	fd, err := inroot.Open(unix.AT_FDCWD, path, unix.O_PATH|unix.O_DIRECTORY, inroot.Resolve)
	if err == unix.ENOENT {
		fd, err = makeCwd(path, id)
	}
	if err != nil {
		return failed(step, err)
	}
	err = unix.Fchdir(fd)
	_ = unix.Close(fd)
	if err != nil {
		return failed(step, err)
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Getcwd(buf)
	if err != nil {
		return failed(step, err)
	}
	if n < 1 || buf[0] != '/' { // the kernel says "(unreachable)/..."
		return refused(step, "it is outside of the container")
	}
	return nil
}

func makeCwd(path string, id *identity) (int, error) {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root) //nolint:errcheck // O_PATH descriptor
	fd, created, err := inroot.Make(root, path, true)
	if err != nil || !created {
		return fd, err
	}
	if err := unix.Fchownat(fd, "", int(id.uid), int(id.gid), unix.AT_EMPTY_PATH); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// become changes this thread's user and groups, keeping the permitted
// capabilities. Raw calls: those of package syscall would change every thread of
// the process in turn, and only this one is left after execve.
func become(id *identity) error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return failed("keep capabilities", err)
	}
	var list unsafe.Pointer
	if len(id.groups) > 0 {
		list = unsafe.Pointer(&id.groups[0])
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(id.groups)), uintptr(list), 0); errno != 0 {
		return failed("set supplementary groups", errno)
	}
	gid, uid := uintptr(id.gid), uintptr(id.uid)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return failed("set group", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return failed("set user", errno)
	}
	return nil
}

func withHome(env []string, home string) []string {
	for i, e := range env {
		if e == "HOME=" {
			env[i] += home
			return env
		}
		if strings.HasPrefix(e, "HOME=") {
			return env
		}
	}
	return append(env, "HOME="+home)
}

// execute becomes the program. It only returns with an error.
func (p *program) execute() error {
	if err := p.confine(); err != nil {
		return err
	}
	return p.search(func(path string) error { return syscall.Exec(path, p.Args, p.env) })
}

// confine gives up what the program may not have: capabilities, new privileges,
// system calls. A filter needs CAP_SYS_ADMIN or no_new_privs to be loaded; with
// the latter it comes last and need not allow anything of this.
func (p *program) confine() error {
	resetSignals()
	if p.NoNewPrivs {
		if err := setCaps(&p.Caps); err != nil {
			return err
		}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return failed("set no_new_privs", err)
		}
		return loadFilter(p.Filter, p.FilterFlags)
	}
	if err := raiseEffective(); err != nil {
		return err
	}
	if err := loadFilter(p.Filter, p.FilterFlags); err != nil {
		return err
	}
	return setCaps(&p.Caps)
}

const notInPath = "executable file not found in $PATH"

// search calls exec with the paths that Args[0] may mean, as execvp(3) does.
func (p *program) search(exec func(path string) error) error {
	name := p.Args[0]
	fail := func(err error, detail string) error {
		return &stepError{step: "exec " + name, err: err, detail: detail, exec: true}
	}
	if strings.Contains(name, "/") {
		if err := exec(name); err != nil {
			return fail(err, "")
		}
		return nil
	}
	if name == "" {
		return fail(unix.ENOENT, "")
	}
	denied := false
	for dir := range strings.SplitSeq(p.path(), ":") {
		if dir == "" {
			dir = "."
		}
		err := exec(dir + "/" + name)
		switch err {
		case nil:
			return nil
		case unix.EACCES:
			denied = true
		case unix.ENOENT, unix.ENOTDIR:
		default:
			return fail(err, "")
		}
	}
	if denied {
		return fail(unix.EACCES, "")
	}
	return fail(unix.ENOENT, notInPath)
}

// lookUp is search without executing anything: who creates a container and leaves
// it to others to start is told at once when there is no such program, as by runc.
func (p *program) lookUp() error {
	return p.search(func(path string) error {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			return unix.EACCES
		}
		return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
	})
}

func (p *program) path() string {
	path := defaultPath
	for _, e := range p.env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	return path
}

// resetSignals undoes what the engine inherited of ignored (nohup) and blocked
// signals and execve would keep, also of those that libraries keep for themselves.
func resetSignals() {
	var none unix.Sigset_t
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil)
	var dfl [4]uint64 // struct sigaction of the kernel: SIG_DFL, no flags, empty mask
	for sig := uintptr(1); sig <= 64; sig++ {
		if sig == uintptr(unix.SIGKILL) || sig == uintptr(unix.SIGSTOP) {
			continue
		}
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&dfl)), 0, 8, 0, 0)
	}
}

func loadFilter(filter []byte, flags uint64) error {
	if len(filter) == 0 {
		return nil
	}
	prog := unix.SockFprog{
		Len:    uint16(len(filter) / 8),
		Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0])),
	}
	const setModeFilter = 1 // SECCOMP_SET_MODE_FILTER
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, setModeFilter, uintptr(flags), uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return failed("load the seccomp filter", errno)
	}
	return nil
}
