package runtime

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tutti/runtime/wire"
)

// mountFlag is one fstab option: flags it sets, or with clear takes away.
type mountFlag struct {
	flag  uint64
	clear bool
}

// mountFlags are the options of mount(8) that are flags of mount(2); everything
// else is data for the file system.
var mountFlags = map[string]mountFlag{
	"defaults": {}, "rw": {unix.MS_RDONLY, true}, "ro": {unix.MS_RDONLY, false},
	"suid": {unix.MS_NOSUID, true}, "nosuid": {unix.MS_NOSUID, false},
	"dev": {unix.MS_NODEV, true}, "nodev": {unix.MS_NODEV, false},
	"exec": {unix.MS_NOEXEC, true}, "noexec": {unix.MS_NOEXEC, false},
	"async": {unix.MS_SYNCHRONOUS, true}, "sync": {unix.MS_SYNCHRONOUS, false},
	"dirsync": {unix.MS_DIRSYNC, false},
	"mand":    {unix.MS_MANDLOCK, false}, "nomand": {unix.MS_MANDLOCK, true},
	"atime": {unix.MS_NOATIME, true}, "noatime": {unix.MS_NOATIME, false},
	"diratime": {unix.MS_NODIRATIME, true}, "nodiratime": {unix.MS_NODIRATIME, false},
	"relatime": {unix.MS_RELATIME, false}, "norelatime": {unix.MS_RELATIME, true},
	"strictatime": {unix.MS_STRICTATIME, false}, "nostrictatime": {unix.MS_STRICTATIME, true},
	"symfollow": {unix.MS_NOSYMFOLLOW, true}, "nosymfollow": {unix.MS_NOSYMFOLLOW, false},
	"bind": {unix.MS_BIND, false}, "rbind": {unix.MS_BIND | unix.MS_REC, false},
	"loud": {unix.MS_SILENT, true}, "noiversion": {unix.MS_I_VERSION, true}, "nolazytime": {unix.MS_LAZYTIME, true},
	"iversion": {unix.MS_I_VERSION, false}, "lazytime": {unix.MS_LAZYTIME, false}, "silent": {unix.MS_SILENT, false},
}

var propagations = map[string]uint64{
	"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE | unix.MS_REC,
	"slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE | unix.MS_REC,
	"shared": unix.MS_SHARED, "rshared": unix.MS_SHARED | unix.MS_REC,
	"unbindable": unix.MS_UNBINDABLE, "runbindable": unix.MS_UNBINDABLE | unix.MS_REC,
}

// recursiveFlags hold for a bind and all mounts below it (mount_setattr(2), AT_RECURSIVE).
var recursiveFlags = map[string]mountFlag{
	"rro": {unix.MS_RDONLY, false}, "rrw": {unix.MS_RDONLY, true},
	"rnosuid": {unix.MS_NOSUID, false}, "rsuid": {unix.MS_NOSUID, true},
	"rnodev": {unix.MS_NODEV, false}, "rdev": {unix.MS_NODEV, true},
	"rnoexec": {unix.MS_NOEXEC, false}, "rexec": {unix.MS_NOEXEC, true},
	"rnodiratime": {unix.MS_NODIRATIME, false}, "rdiratime": {unix.MS_NODIRATIME, true},
	"rnoatime": {unix.MS_NOATIME, false}, "ratime": {unix.MS_NOATIME, true},
	"rrelatime": {unix.MS_NOATIME | unix.MS_STRICTATIME, true}, "rnorelatime": {},
	"rstrictatime": {unix.MS_STRICTATIME, false}, "rnostrictatime": {unix.MS_STRICTATIME, true},
	"rnosymfollow": {unix.MS_NOSYMFOLLOW, false}, "rsymfollow": {unix.MS_NOSYMFOLLOW, true},
}

// Options that are neither flags nor data: they say how to mount.
const (
	optionIDMap          = "idmap"
	optionRecursiveIDMap = "ridmap"
	optionCopyUp         = "tmpcopyup"
)

// MountOptions are all options with a meaning of their own, sorted; others are data
// for the file system.
func MountOptions() []string {
	names := []string{optionIDMap, optionRecursiveIDMap, optionCopyUp}
	names = slices.AppendSeq(names, maps.Keys(mountFlags))
	names = slices.AppendSeq(names, maps.Keys(propagations))
	names = slices.AppendSeq(names, maps.Keys(recursiveFlags))
	slices.Sort(names)
	return names
}

// OptionSubpath makes of an overlay only what is at a path in it the mount:
// "subpath=usr/share". Links lead nowhere out of the overlay.
const OptionSubpath = "subpath="

// foreignRoot is a path in the root of another process. The kernel binds nothing of
// another mount namespace than the caller's: init takes it from inside of that one.
var foreignRoot = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(/proc/[0-9]+)/root(/.+)$`) })

// setFlag heeds an option that is a flag of a mount; the last word on a flag holds. It is false for any other option.
func setFlag(w *wire.Mount, option string) bool {
	if f, ok := mountFlags[option]; ok {
		w.Flags &^= f.flag
		if !f.clear {
			w.Flags |= f.flag
		}
		return true
	}
	if p, ok := propagations[option]; ok {
		w.Propagation = p
		return true
	}
	r, ok := recursiveFlags[option]
	if !ok {
		return false
	}
	w.Recursive, w.Clear = w.Recursive&^r.flag, w.Clear&^r.flag
	if r.clear {
		w.Clear |= r.flag
	} else {
		w.Recursive |= r.flag
	}
	return true
}

// wireMount translates an OCI mount. A bind has no type on the wire.
func wireMount(m specs.Mount) (wire.Mount, error) {
	w := wire.Mount{Dest: path.Clean("/" + m.Destination), Source: m.Source, Type: m.Type}
	var data []string
	for _, o := range m.Options {
		if sub, ok := strings.CutPrefix(o, OptionSubpath); ok && m.Type == "overlay" {
			w.Subpath = sub
		} else if o == optionCopyUp && m.Type == "tmpfs" {
			w.CopyUp = true
		} else if !setFlag(&w, o) && o != optionIDMap && o != optionRecursiveIDMap {
			data = append(data, o)
		}
	}
	if w.Flags&unix.MS_BIND != 0 || m.Type == "bind" {
		w.Type = ""
		w.Flags |= unix.MS_BIND
		data = nil // options of other platforms ("z", "delegated") mean nothing to a bind
		if m.Source == "" {
			return w, fmt.Errorf("mount %s: a bind mount needs a source", m.Destination)
		}
	} else if m.Type == "" {
		return w, fmt.Errorf("mount %s: it has neither a type nor the option bind", m.Destination)
	}
	if w.Source == "" {
		w.Source = m.Type
	}
	if f := foreignRoot().FindStringSubmatch(m.Source); w.Type == "" && f != nil {
		w.Namespace, w.Source = f[1]+"/ns/mnt", f[2]
	}
	w.Data = strings.Join(data, ",")
	return w, nil
}
