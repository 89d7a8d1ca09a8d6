package runtime

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tutti/runtime/cgroup"
	"tutti/runtime/wire"
)

// cloneFlags are the namespaces of a spec and their flags of clone(2).
var cloneFlags = map[specs.LinuxNamespaceType]uint64{
	specs.PIDNamespace:     unix.CLONE_NEWPID,
	specs.NetworkNamespace: unix.CLONE_NEWNET,
	specs.MountNamespace:   unix.CLONE_NEWNS,
	specs.IPCNamespace:     unix.CLONE_NEWIPC,
	specs.UTSNamespace:     unix.CLONE_NEWUTS,
	specs.CgroupNamespace:  unix.CLONE_NEWCGROUP,
}

// plan is a spec, translated: what init is told and what clone(2) needs.
type plan struct {
	config    wire.Config
	newPID    bool   // a pid namespace of its own
	pidNSPath string // or that of somebody else
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
	if err := p.namespaces(spec.Linux.Namespaces); err != nil {
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
	p.config.Process = process
	return p, nil
}

// checkSpec refuses what this runtime does not do, by name, instead of ignoring it.
func checkSpec(s *specs.Spec) error {
	switch {
	case s == nil || s.Process == nil || s.Root == nil || s.Linux == nil:
		return fmt.Errorf("spec: process, root and linux are required")
	case !path.IsAbs(s.Root.Path):
		return fmt.Errorf("spec: root.path %q is not absolute", s.Root.Path)
	case s.Hooks != nil:
		return fmt.Errorf("spec: hooks are not supported yet")
	case len(s.Linux.UIDMappings) > 0 || len(s.Linux.GIDMappings) > 0:
		return fmt.Errorf("spec: user namespaces are not supported yet")
	case s.Process.ApparmorProfile != "":
		return fmt.Errorf("spec: AppArmor profiles are not supported yet")
	case s.Process.SelinuxLabel != "" || s.Linux.MountLabel != "":
		return fmt.Errorf("spec: SELinux labels are not supported yet")
	case s.Linux.IntelRdt != nil || s.Linux.MemoryPolicy != nil || s.Linux.Personality != nil ||
		len(s.Linux.TimeOffsets) > 0 || len(s.Linux.NetDevices) > 0:
		return fmt.Errorf("spec: intelRdt, memoryPolicy, personality, timeOffsets and netDevices are not supported yet")
	case s.Process.Scheduler != nil || s.Process.IOPriority != nil || s.Process.ExecCPUAffinity != nil:
		return fmt.Errorf("spec: scheduler, ioPriority and execCPUAffinity are not supported yet")
	}
	return nil
}

func (p *plan) namespaces(list []specs.LinuxNamespace) error {
	for _, n := range list {
		flag, ok := cloneFlags[n.Type]
		switch {
		case !ok:
			return fmt.Errorf("spec: namespaces of type %q are not supported yet", n.Type)
		case n.Type == specs.PIDNamespace && n.Path == "":
			p.newPID = true
		case n.Type == specs.PIDNamespace:
			p.pidNSPath = n.Path
		case n.Path == "":
			p.config.Unshare |= flag
		default:
			p.config.Join = append(p.config.Join, wire.Namespace{Flag: flag, Path: n.Path})
		}
	}
	if p.config.Unshare&unix.CLONE_NEWNS == 0 {
		return fmt.Errorf("spec: a mount namespace of its own is required")
	}
	return nil
}

// private tells whether the container does not share a namespace with the host.
func (p *plan) private(flag uint64) bool {
	return p.config.Unshare&flag != 0 ||
		slices.ContainsFunc(p.config.Join, func(n wire.Namespace) bool { return n.Flag == flag })
}

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
		if m.Type == "cgroup" || m.Type == "cgroup2" {
			if err := p.cgroupMounts(m, cg); err != nil {
				return err
			}
			continue
		}
		w, err := wireMount(m)
		if err != nil {
			return err
		}
		if err := checkProcTarget(w); err != nil {
			return err
		}
		if w.Type == "" && path.Clean(m.Destination) == "/dev" {
			p.config.MakeDev = false
		}
		p.config.Mounts = append(p.config.Mounts, w)
	}
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

// sysctlName is what a key may look like: parts of words, never a path upwards.
var sysctlName = regexp.MustCompile(`^[a-zA-Z0-9_-]+([./][a-zA-Z0-9_:@-]+)+$`)

// ipcSysctls are those of an ipc namespace beside fs.mqueue.*
var ipcSysctls = []string{
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
	"kernel.shmmni", "kernel.shm_rmid_forced",
}

// sysctls checks that every key is one of a namespace that is not the host's.
func (p *plan) sysctls(spec *specs.Spec) error {
	for key, value := range spec.Linux.Sysctl {
		name := strings.ReplaceAll(key, "/", ".")
		var allowed bool
		switch {
		case slices.Contains(ipcSysctls, name) || strings.HasPrefix(name, "fs.mqueue."):
			allowed = p.private(unix.CLONE_NEWIPC)
		case strings.HasPrefix(name, "net."):
			allowed = p.private(unix.CLONE_NEWNET)
		case name == "kernel.domainname":
			allowed = p.private(unix.CLONE_NEWUTS)
		}
		if !sysctlName.MatchString(key) || strings.ContainsAny(value, "\n\x00") {
			return fmt.Errorf("sysctl %q=%q: malformed", key, value)
		}
		if !allowed {
			return fmt.Errorf("sysctl %s: it is not in a namespace of the container's own", key)
		}
		// As sysctl(8): with "." as the separator a "/" stands for a dot in a name.
		file := strings.NewReplacer(".", "/", "/", ".").Replace(key)
		if i := strings.IndexAny(key, "./"); key[i] == '/' {
			file = key
		}
		p.config.Sysctls = append(p.config.Sysctls, wire.Sysctl{Path: file, Value: value})
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
	var err error
	w.Caps, err = wireCaps(p.Capabilities, r.ownCaps)
	return w, err
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
