package runtime

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

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
	specs.UserNamespace:    unix.CLONE_NEWUSER,
	specs.TimeNamespace:    unix.CLONE_NEWTIME,
}

// Namespaces lists the types that a spec can name, sorted.
func Namespaces() []string {
	var names []string
	for n := range cloneFlags {
		names = append(names, string(n))
	}
	slices.Sort(names)
	return names
}

// Namespaces that a process is born in; the others are init's own work.
const (
	bornPID = iota
	bornUser
	bornTime
)

var bornIn = map[specs.LinuxNamespaceType]int{
	specs.PIDNamespace: bornPID, specs.UserNamespace: bornUser, specs.TimeNamespace: bornTime,
}

func (p *plan) namespaces(l *specs.Linux) error {
	seen := map[specs.LinuxNamespaceType]bool{}
	for _, n := range l.Namespaces {
		flag, ok := cloneFlags[n.Type]
		born, isBorn := bornIn[n.Type]
		switch {
		case !ok:
			return fmt.Errorf("spec: unknown namespace type %q", n.Type)
		case seen[n.Type]:
			return fmt.Errorf("spec: namespace %s is given twice", n.Type)
		case isBorn && n.Path != "":
			p.paths[born] = n.Path
		case n.Type == specs.PIDNamespace:
			p.newPID = true
		case n.Type == specs.UserNamespace:
			p.newUser = true
		case n.Type == specs.TimeNamespace:
			p.spawn.newTime = true
		case n.Type == specs.MountNamespace && n.Path != "":
			p.mountNS = n.Path
		case n.Path == "":
			p.config.Unshare |= flag
		default:
			p.config.Join = append(p.config.Join, wire.Namespace{Flag: flag, Path: n.Path})
		}
		seen[n.Type] = true
	}
	p.sharesMounts = p.config.Unshare&unix.CLONE_NEWNS == 0
	if p.mountNS != "" { // the last: what the others' paths mean changes with it
		p.config.Join = append(p.config.Join, wire.Namespace{Flag: unix.CLONE_NEWNS, Path: p.mountNS})
	}
	if p.newPID {
		p.spawn.flags |= unix.CLONE_NEWPID
	}
	if err := p.userNamespace(l); err != nil {
		return err
	}
	return p.timeNamespace(l)
}

// private tells whether the container does not share a namespace with the host.
func (p *plan) private(flag uint64) bool {
	return p.config.Unshare&flag != 0 ||
		slices.ContainsFunc(p.config.Join, func(n wire.Namespace) bool { return n.Flag == flag })
}

// inUserNS tells whether init has no rights outside of a user namespace.
func (p *plan) inUserNS() bool { return p.newUser || p.paths[bornUser] != "" }

func (p *plan) userNamespace(l *specs.Linux) error {
	mapped := len(l.UIDMappings) > 0 || len(l.GIDMappings) > 0
	if !p.newUser {
		if mapped && !p.inUserNS() {
			return fmt.Errorf("spec: ID mappings need a user namespace")
		}
		return nil
	}
	var err error
	if p.spawn.uidMap, err = idMap(l.UIDMappings); err != nil {
		return err
	}
	if p.spawn.gidMap, err = idMap(l.GIDMappings); err != nil {
		return err
	}
	return nil
}

// idMap translates ID mappings, which must say who root is.
func idMap(list []specs.LinuxIDMapping) ([]syscall.SysProcIDMap, error) {
	var ids []syscall.SysProcIDMap
	root := false
	for _, m := range list {
		if m.Size > math.MaxInt32 || m.Size == 0 {
			return nil, fmt.Errorf("spec: ID mapping of size %d", m.Size)
		}
		root = root || m.ContainerID == 0
		ids = append(ids, syscall.SysProcIDMap{ContainerID: int(m.ContainerID), HostID: int(m.HostID), Size: int(m.Size)})
	}
	if !root {
		return nil, fmt.Errorf("spec: a user namespace needs mappings of users and groups that include ID 0")
	}
	return ids, nil
}

func (p *plan) timeNamespace(l *specs.Linux) error {
	if len(l.TimeOffsets) > 0 && !p.spawn.newTime {
		return fmt.Errorf("spec: timeOffsets need a time namespace of the container's own")
	}
	var b strings.Builder
	for _, clock := range slices.Sorted(maps.Keys(l.TimeOffsets)) {
		if clock != "monotonic" && clock != "boottime" {
			return fmt.Errorf("spec: unknown clock %q in timeOffsets", clock)
		}
		o := l.TimeOffsets[clock]
		fmt.Fprintf(&b, "%s %d %d\n", clock, o.Secs, o.Nanosecs)
	}
	p.spawn.timeOffsets = b.String()
	return nil
}

// openNamespaces opens those that the process is born in.
func (p *plan) openNamespaces() error {
	for i, target := range [...]**os.File{bornPID: &p.spawn.pidNS, bornUser: &p.spawn.userNS, bornTime: &p.spawn.timeNS} {
		if p.paths[i] == "" {
			continue
		}
		f, err := os.Open(p.paths[i])
		if err != nil {
			return fmt.Errorf("open namespace: %w", err)
		}
		*target = f
		p.owned = append(p.owned, f)
	}
	return nil
}

// joinLater are the namespaces that a further process has to be born in as well.
func (p *plan) joinLater() uint64 {
	var flags uint64
	if p.inUserNS() {
		flags |= unix.CLONE_NEWUSER
	}
	if p.spawn.newTime || p.paths[bornTime] != "" {
		flags |= unix.CLONE_NEWTIME
	}
	return flags
}
