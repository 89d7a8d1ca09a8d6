package wire

import "tutti/runtime/hooks"

// Config is everything init has to know. All paths are host paths until the
// root is pivoted, except those that are said to be inside the container.
type Config struct {
	Exec        bool     // enter a running container instead of making one
	ID          string   // names the session keyring
	CgroupTasks []string // cgroup v1 "tasks" files to join

	Unshare uint64      // CLONE_NEW* flags to unshare; for Exec: to join by pidfd
	Join    []Namespace // namespaces to join by path

	Root            string
	RootMounts      []Mount // stacked on Root; none: Root itself
	RootReadonly    bool
	RootPropagation uint64 // MS_SLAVE and such, with MS_REC

	Mounts         []Mount
	ReadonlyMounts []string // inside: mounts to make read-only once all others are made
	Links          []Link   // inside
	Devices        []Device
	MakeDev        bool // /dev is the container's own: make links and console in it
	Masked         []string
	Readonly       []string
	Sysctls        []Sysctl
	Hostname       string
	Domainname     string

	Process Process
	Init    bool // stay as pid 1, the program is the child

	StartFD    uint32 // a listening socket that the start comes over; 0: ControlFD
	RootTree   uint32 // descriptor of the root's mount, detached; 0: Root is bound
	Outer      bool   // the root is mounted already in a namespace that others use: chroot(2) into it
	NoPivot    bool   // move the root and chroot(2) instead of pivot_root(2)
	NoKeyring  bool   // keep the caller's session keyring
	Preserve   uint32 // how many descriptors from PreserveFD on the program gets as 3, 4 ...
	PreserveFD uint32

	AskHooks        bool // say FrameHooks when the root is mounted and wait for FrameGoOn
	CreateContainer []hooks.Hook
	StartContainer  []hooks.Hook
	HookState       []byte // JSON: what follows the members "status" and "pid", without the opening brace
}

// Namespace is one to join; Flag is its CLONE_NEW* value.
type Namespace struct {
	Flag uint64
	Path string
}

// Mount is one mount. Flags are MS_* values of mount(2).
type Mount struct {
	Dest        string // inside
	Source      string
	Type        string // empty: bind
	Flags       uint64
	Data        string
	Recursive   uint64 // MS_* flags set on a bind and all mounts below it
	Clear       uint64 // MS_* flags taken from a bind and all mounts below it
	Tree        uint32 // descriptor of the bind's mount, detached; 0: of Source
	CopyUp      bool   // fill a new tmpfs with what its mount point holds
	Propagation uint64 // MS_PRIVATE, MS_SLAVE ... with MS_REC; 0: as it comes
	Subpath     string // of an overlay: what of it is to be seen, instead of all; relative
	Namespace   string // path of the mount namespace that Source is in; empty: init's
}

// Link is a symbolic link to make, if its path is free.
type Link struct{ Target, Path string }

// Device is a device node; Mode has the file type bits of mknod(2).
type Device struct {
	Path     string
	Mode     uint32
	Dev      uint64
	UID, GID uint32
}

// Sysctl is a file below /proc/sys, "net/ipv4/ip_forward".
type Sysctl struct{ Path, Value string }

// Process is the program to execute.
type Process struct {
	Args, Env []string
	Cwd       string
	// User is "user[:group]" to look up inside the container; empty: UID and GID.
	User        string
	UID, GID    uint32
	Groups      []uint32
	GroupNames  []string // names or numbers, looked up inside
	Umask       uint32
	Rlimits     []Rlimit
	Caps        Caps
	NoNewPrivs  bool
	Filter      []byte // seccomp: an array of struct sock_filter; empty: none
	FilterFlags uint64
	Terminal    bool
	Width       uint32
	Height      uint32
	OOMScoreAdj string // empty: inherited

	Apparmor    string // profile to change to at exec; empty: none
	Personality uint64 // of personality(2) plus one; 0: inherited
	IOPriority  uint32 // of ioprio_set(2); 0: inherited
	Scheduler   Scheduler
	// Affinity are CPU lists as bit masks of 64-bit words: for the set-up, and for the program.
	InitialAffinity, FinalAffinity []uint64
}

// Scheduler are the attributes of sched_setattr(2); not Set: inherited.
type Scheduler struct {
	Set                       bool
	Policy                    uint32
	Flags                     uint64
	Nice                      uint32 // an int32
	Priority                  uint32
	Runtime, Deadline, Period uint64
}

// Rlimit is one resource limit by its number.
type Rlimit struct {
	Resource   uint32
	Soft, Hard uint64
}

// Caps are capability sets as bit masks.
type Caps struct{ Bounding, Effective, Permitted, Inheritable, Ambient uint64 }

// Marshal returns the wire form.
func (c *Config) Marshal() []byte { return marshal(c.fields) }

// Unmarshal reads the wire form; false when it is not whole.
func (c *Config) Unmarshal(b []byte) bool { return unmarshal(b, c.fields) }

func (c *Config) fields(x *codec) {
	x.boolean(&c.Exec)
	x.str(&c.ID)
	x.strs(&c.CgroupTasks)
	x.u64(&c.Unshare)
	list(x, &c.Join, func(x *codec, n *Namespace) { x.u64(&n.Flag); x.str(&n.Path) })
	x.str(&c.Root)
	list(x, &c.RootMounts, mountFields)
	x.boolean(&c.RootReadonly)
	x.u64(&c.RootPropagation)
	list(x, &c.Mounts, mountFields)
	x.strs(&c.ReadonlyMounts)
	list(x, &c.Links, func(x *codec, l *Link) { x.str(&l.Target); x.str(&l.Path) })
	list(x, &c.Devices, func(x *codec, d *Device) {
		x.str(&d.Path)
		x.u32(&d.Mode)
		x.u64(&d.Dev)
		x.u32(&d.UID)
		x.u32(&d.GID)
	})
	x.boolean(&c.MakeDev)
	x.strs(&c.Masked)
	x.strs(&c.Readonly)
	list(x, &c.Sysctls, func(x *codec, s *Sysctl) { x.str(&s.Path); x.str(&s.Value) })
	x.str(&c.Hostname)
	x.str(&c.Domainname)
	c.Process.fields(x)
	x.boolean(&c.Init)
	x.u32(&c.StartFD)
	x.u32(&c.RootTree)
	x.boolean(&c.Outer)
	x.boolean(&c.NoPivot)
	x.boolean(&c.NoKeyring)
	x.u32(&c.Preserve)
	x.u32(&c.PreserveFD)
	x.boolean(&c.AskHooks)
	list(x, &c.CreateContainer, hookFields)
	list(x, &c.StartContainer, hookFields)
	x.bytes(&c.HookState)
}

func hookFields(x *codec, h *hooks.Hook) {
	x.str(&h.Path)
	x.strs(&h.Args)
	x.strs(&h.Env)
	x.u32(&h.Timeout)
}

func mountFields(x *codec, m *Mount) {
	x.str(&m.Dest)
	x.str(&m.Source)
	x.str(&m.Type)
	x.u64(&m.Flags)
	x.str(&m.Data)
	x.u64(&m.Recursive)
	x.u64(&m.Clear)
	x.u32(&m.Tree)
	x.boolean(&m.CopyUp)
	x.u64(&m.Propagation)
	x.str(&m.Subpath)
	x.str(&m.Namespace)
}

func (p *Process) fields(x *codec) {
	x.strs(&p.Args)
	x.strs(&p.Env)
	x.str(&p.Cwd)
	x.str(&p.User)
	x.u32(&p.UID)
	x.u32(&p.GID)
	x.u32s(&p.Groups)
	x.strs(&p.GroupNames)
	x.u32(&p.Umask)
	list(x, &p.Rlimits, func(x *codec, r *Rlimit) { x.u32(&r.Resource); x.u64(&r.Soft); x.u64(&r.Hard) })
	x.u64(&p.Caps.Bounding)
	x.u64(&p.Caps.Effective)
	x.u64(&p.Caps.Permitted)
	x.u64(&p.Caps.Inheritable)
	x.u64(&p.Caps.Ambient)
	x.boolean(&p.NoNewPrivs)
	x.bytes(&p.Filter)
	x.u64(&p.FilterFlags)
	x.boolean(&p.Terminal)
	x.u32(&p.Width)
	x.u32(&p.Height)
	x.str(&p.OOMScoreAdj)
	x.str(&p.Apparmor)
	x.u64(&p.Personality)
	x.u32(&p.IOPriority)
	p.Scheduler.fields(x)
	list(x, &p.InitialAffinity, (*codec).u64)
	list(x, &p.FinalAffinity, (*codec).u64)
}

func (s *Scheduler) fields(x *codec) {
	x.boolean(&s.Set)
	x.u32(&s.Policy)
	x.u64(&s.Flags)
	x.u32(&s.Nice)
	x.u32(&s.Priority)
	x.u64(&s.Runtime)
	x.u64(&s.Deadline)
	x.u64(&s.Period)
}
