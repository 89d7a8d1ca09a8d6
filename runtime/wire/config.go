package wire

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
	Propagation uint64 // MS_PRIVATE, MS_SLAVE ... with MS_REC; 0: as it comes
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
}

func mountFields(x *codec, m *Mount) {
	x.str(&m.Dest)
	x.str(&m.Source)
	x.str(&m.Type)
	x.u64(&m.Flags)
	x.str(&m.Data)
	x.u64(&m.Recursive)
	x.u64(&m.Propagation)
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
}
