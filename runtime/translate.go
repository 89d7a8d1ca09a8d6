package runtime

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tutti/runtime/cgroup"
	"tutti/runtime/wire"
)

// plan is a spec, translated: what init is told and what clone(2) needs.
type plan struct {
	config wire.Config
	newPID bool // a pid namespace of its own
	spawn  spawnOptions
	paths  [3]string // of the pid, user and time namespace of somebody else

	newUser bool // a user namespace of its own

	sharesMounts bool   // no mount namespace of its own
	mountNS      string // but somebody else's, if not this process's
	trees        []mountTree
	extras       []*os.File // what init is started with besides its socket
	owned        []*os.File // what to close once init has it
}

// translate turns a spec into init's instructions.
func (r *Runtime) translate(id string, spec *specs.Spec, o CreateOptions, cg cgroup.Manager) (*plan, error) {
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	p := &plan{config: wire.Config{
		ID: id, CgroupTasks: cg.Tasks(), Init: o.Init,
		Root: spec.Root.Path, RootReadonly: spec.Root.Readonly,
		Hostname: spec.Hostname, Domainname: spec.Domainname,
		Masked: spec.Linux.MaskedPaths, Readonly: spec.Linux.ReadonlyPaths,
	}}
	if err := p.namespaces(spec.Linux); err != nil {
		return nil, err
	}
	if err := p.mounts(spec, o.Rootfs, cg); err != nil {
		return nil, err
	}
	if err := p.devices(spec); err != nil {
		return nil, err
	}
	if err := p.sysctls(spec); err != nil {
		return nil, err
	}
	process, err := r.wireProcess(spec.Process, o.Groups)
	if err != nil {
		return nil, err
	}
	process.Filter, process.FilterFlags, err = r.filters.compile(spec.Linux.Seccomp)
	if err != nil {
		return nil, err
	}
	if process.Personality, err = personalityOf(spec.Linux.Personality); err != nil {
		return nil, err
	}
	p.config.Process = process
	return p, p.hooks(id, spec, o)
}

// checkSpec refuses what this runtime does not do, by name, instead of ignoring it.
func checkSpec(s *specs.Spec) error {
	switch {
	case s == nil || s.Process == nil || s.Root == nil || s.Linux == nil:
		return fmt.Errorf("spec: process, root and linux are required")
	case !path.IsAbs(s.Root.Path):
		return fmt.Errorf("spec: root.path %q is not absolute", s.Root.Path)
	case (s.Process.SelinuxLabel != "" || s.Linux.MountLabel != "") && selinuxEnabled():
		return fmt.Errorf("spec: SELinux labels are not supported")
	case s.Linux.IntelRdt != nil:
		return fmt.Errorf("spec: linux.intelRdt is not supported")
	case s.Linux.MemoryPolicy != nil:
		return fmt.Errorf("spec: linux.memoryPolicy is not supported")
	case len(s.Linux.NetDevices) > 0:
		return fmt.Errorf("spec: linux.netDevices is not supported")
	}
	return checkHooks(s.Hooks)
}

// mounts takes what is mounted for the root, and on it.
func (p *plan) mounts(spec *specs.Spec, rootfs []specs.Mount, cg cgroup.Manager) error {
	propagation := uint64(unix.MS_SLAVE | unix.MS_REC)
	if s := spec.Linux.RootfsPropagation; s != "" {
		flags, ok := propagations[s]
		if !ok {
			return fmt.Errorf("spec: unknown rootfsPropagation %q", s)
		}
		propagation = flags | unix.MS_REC
	}
	p.config.RootPropagation = propagation
	for _, m := range rootfs {
		w, err := wireMount(m)
		if err != nil {
			return err
		}
		p.config.RootMounts = append(p.config.RootMounts, w)
	}
	p.config.MakeDev = true
	for _, m := range spec.Mounts {
		if !path.IsAbs(m.Destination) {
			return fmt.Errorf("mount %q: the destination is not absolute", m.Destination)
		}
		mount := p.mount
		if m.Type == "cgroup" || m.Type == "cgroup2" {
			mount = func(m specs.Mount, _ *specs.Linux) error { return p.cgroupMounts(m, cg) }
		}
		if err := mount(m, spec.Linux); err != nil {
			return err
		}
	}
	return nil
}

// mount takes one that is no cgroup.
func (p *plan) mount(m specs.Mount, linux *specs.Linux) error {
	w, err := wireMount(m)
	if err != nil {
		return err
	}
	if err := checkProcTarget(w); err != nil {
		return err
	}
	if err := p.treeOf(m, w, linux); err != nil {
		return err
	}
	if m.Type == "tmpfs" && w.CopyUp && w.Flags&unix.MS_RDONLY != 0 {
		w.Flags &^= unix.MS_RDONLY // until it is filled
		p.config.ReadonlyMounts = append(p.config.ReadonlyMounts, w.Dest)
	}
	if w.Type == "" && path.Clean(m.Destination) == "/dev" {
		p.config.MakeDev = false
	}
	p.config.Mounts = append(p.config.Mounts, w)
	return nil
}

// underProc are the files of /proc that programs like lxcfs replace; a mount
// anywhere else in it could redirect what the runtime writes (CVE-2019-16884).
var underProc = []string{
	"/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime",
	"/proc/loadavg", "/proc/slabinfo", "/proc/net/dev", "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled",
}

func checkProcTarget(m wire.Mount) error {
	dest := path.Clean(m.Dest)
	if dest == "/proc" && m.Type != "proc" && (m.Type != "" || m.Source != "/proc") {
		return fmt.Errorf("mount %s: only procfs can be mounted there", m.Dest)
	}
	if strings.HasPrefix(dest, "/proc/") && !slices.Contains(underProc, dest) {
		return fmt.Errorf("mount %s: mounts inside /proc are not allowed", m.Dest)
	}
	return nil
}

// cgroupMounts expands the mount of type "cgroup" into the mounts of the
// container's own groups. A tmpfs that holds them is made read-only last.
func (p *plan) cgroupMounts(m specs.Mount, cg cgroup.Manager) error {
	w, err := wireMount(m)
	if err != nil {
		return err
	}
	for _, v := range cg.Views(path.Clean(m.Destination), p.private(unix.CLONE_NEWCGROUP)) {
		if v.Link != "" {
			p.config.Links = append(p.config.Links, wire.Link{Target: v.Link, Path: v.Dest})
			continue
		}
		view := wire.Mount{Dest: v.Dest, Type: v.Type, Source: v.Source, Data: v.Data, Flags: w.Flags, Propagation: w.Propagation}
		if v.Type == "" {
			view.Flags |= unix.MS_BIND | unix.MS_REC
		}
		if v.Type == "tmpfs" && w.Flags&unix.MS_RDONLY != 0 {
			view.Flags &^= unix.MS_RDONLY
			p.config.ReadonlyMounts = append(p.config.ReadonlyMounts, v.Dest)
		}
		p.config.Mounts = append(p.config.Mounts, view)
	}
	return nil
}

// wireProcess translates a process; its seccomp filter is the container's.
func (r *Runtime) wireProcess(p *specs.Process, groups []string) (wire.Process, error) {
	if len(p.Args) == 0 {
		return wire.Process{}, fmt.Errorf("spec: process.args is empty")
	}
	w := wire.Process{
		Args: p.Args, Env: p.Env, Cwd: p.Cwd, NoNewPrivs: p.NoNewPrivileges, Terminal: p.Terminal,
		User: p.User.Username, UID: p.User.UID, GID: p.User.GID, Groups: p.User.AdditionalGids, GroupNames: groups,
		Umask: 0o022,
	}
	if w.Cwd == "" {
		w.Cwd = "/"
	}
	if !path.IsAbs(w.Cwd) {
		return w, fmt.Errorf("spec: process.cwd %q is not absolute", w.Cwd)
	}
	if p.User.Umask != nil {
		w.Umask = *p.User.Umask & 0o777
	}
	if p.ConsoleSize != nil {
		w.Width, w.Height = uint32(p.ConsoleSize.Width), uint32(p.ConsoleSize.Height)
	}
	if p.OOMScoreAdj != nil {
		w.OOMScoreAdj = strconv.Itoa(*p.OOMScoreAdj)
	}
	for _, s := range append(slices.Concat(p.Args, p.Env), p.Cwd) {
		if strings.ContainsRune(s, 0) {
			return w, fmt.Errorf("spec: an argument, variable or path holds a NUL byte")
		}
	}
	for _, l := range p.Rlimits {
		n, ok := rlimits[l.Type]
		if !ok {
			return w, fmt.Errorf("spec: unknown resource limit %q", l.Type)
		}
		w.Rlimits = append(w.Rlimits, wire.Rlimit{Resource: n, Soft: l.Soft, Hard: l.Hard})
	}
	if err := wireAttributes(&w, p); err != nil {
		return w, err
	}
	var err error
	w.Caps, err = r.wireCaps(p.Capabilities)
	return w, err
}

// KnownRlimit tells whether a name, "RLIMIT_NOFILE", is one of setrlimit(2).
func KnownRlimit(name string) bool {
	_, ok := rlimits[name]
	return ok
}

// rlimits are the names of setrlimit(2).
var rlimits = map[string]uint32{
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_CPU": unix.RLIMIT_CPU,
	"RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS,
	"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE,
	"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
	"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_STACK": unix.RLIMIT_STACK,
}
