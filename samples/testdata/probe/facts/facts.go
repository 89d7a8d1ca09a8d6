// Package facts is what the probe in a container tells about its confinement.
package facts

// Facts are observed from inside, by a process that has done nothing else before.
type Facts struct {
	Status     map[string]string    // /proc/self/status
	Files      map[string]string    // contents of files of /proc and /etc, by path
	Environ    []string             // as given, in order
	Streams    []string             // numbers of the open descriptors
	Cwd        string               // working directory
	Umask      string               // octal
	Personal   string               // prctl(2) and personality(2): what is not the kernel's default
	Signals    []int                // ignored or blocked
	Namespaces map[string]string    // kind to identity
	Processes  []string             // every pid in /proc
	Limits     map[string][2]uint64 // RLIMIT_* without the prefix: soft, hard
	Mounts     []Mount              // in the kernel's order
	Nodes      map[string]string    // below /dev: "c 1:3 666", "-> target" or "dir"
	Hidden     map[string]string    // path asked for: absent, empty, denied or readable
	Writable   []string             // files below /proc/sys, /sys and such that could be written
	Unwritable []string             // read-only paths asked for that exist and could not be written
	Mknod      string               // errors of making device nodes: "" when all can be made
	Opened     []string             // device numbers that could be opened: "c 1:3"
	Refused    []string             // and those that could not
	Acts       map[string]string    // what was tried, and the error
	Calls      map[string][]int     // architecture to verdicts by number: 0 allowed, else the error
	ByArgument map[string]int       // "socket 38" to the verdict
	Sockets    []string             // unix sockets with a name that are visible in the network namespace
}

// Mount is a line of mountinfo, proc_pid_mountinfo(5).
type Mount struct {
	Target, Root, Type, Source string
	Options, Super             []string
	Shared                     bool // takes part in propagation as a peer
	Slave                      bool // receives what is mounted elsewhere
}

// Request is what the probe is to look at.
type Request struct {
	Masked, ReadOnly []string
}
