package runtime

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tutti/runtime/wire"
)

// mountTree is a bind mount that init cannot take from its source: it has not the
// rights to, or the mount shows other owners than the source does.
type mountTree struct {
	index          int // in plan.config.Mounts
	uidMap, gidMap []syscall.SysProcIDMap
	recursive      bool // map the mounts below it too
}

// treeOf notes that the mount, the next of the plan, is one of those.
func (p *plan) treeOf(m specs.Mount, w wire.Mount, l *specs.Linux) error {
	uids, gids := m.UIDMappings, m.GIDMappings
	t := mountTree{index: len(p.config.Mounts), recursive: slices.Contains(m.Options, optionRecursiveIDMap)}
	asked := len(uids) > 0 || len(gids) > 0
	if (t.recursive || slices.Contains(m.Options, optionIDMap)) && !asked {
		asked, uids, gids = true, l.UIDMappings, l.GIDMappings
	}
	if !asked && !p.inUserNS() {
		return nil
	}
	if w.Type != "" {
		if asked {
			return fmt.Errorf("mount %s: only bind mounts can have ID mappings", m.Destination)
		}
		return nil
	}
	if asked {
		var err error
		if t.uidMap, err = idMap(uids); err != nil {
			return fmt.Errorf("mount %s: %w", m.Destination, err)
		}
		if t.gidMap, err = idMap(gids); err != nil {
			return fmt.Errorf("mount %s: %w", m.Destination, err)
		}
	}
	p.trees = append(p.trees, t)
	return nil
}

// extra gives init a descriptor and returns its number there.
func (p *plan) extra(f *os.File) uint32 {
	p.extras = append(p.extras, f)
	return uint32(wire.ControlFD + len(p.extras))
}

func (p *plan) close() {
	for _, f := range p.owned {
		_ = f.Close()
	}
	p.owned = nil
}

// openTrees takes copies of mounts for init, which attaches them.
func (r *Runtime) openTrees(p *plan, rootMounts bool) error {
	if p.inUserNS() && !rootMounts {
		tree, err := openTree(p.config.Root, true)
		if err != nil {
			return fmt.Errorf("open root %s: %w", p.config.Root, err)
		}
		p.owned = append(p.owned, tree)
		p.config.RootTree = p.extra(tree)
	}
	for _, t := range p.trees {
		m := &p.config.Mounts[t.index]
		tree, err := openTree(m.Source, m.Flags&unix.MS_REC != 0)
		if err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.Source, m.Dest, err)
		}
		p.owned = append(p.owned, tree)
		if len(t.uidMap) > 0 {
			if err := r.mapOwners(tree, t); err != nil {
				return fmt.Errorf("map owners of %s on %s: %w", m.Source, m.Dest, err)
			}
		}
		m.Tree = p.extra(tree)
	}
	return nil
}

// openTree takes a detached copy of the mount at path, open_tree(2).
func openTree(path string, recursive bool) (*os.File, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// mapOwners makes a mount show owners as the mappings say (Linux 5.12 and a file
// system that can, mount_setattr(2)).
func (r *Runtime) mapOwners(tree *os.File, t mountTree) error {
	ns, err := r.userNamespaceOf(t)
	if err != nil {
		return err
	}
	defer ns.Close() //nolint:errcheck // opened for reading
	flags := uint(unix.AT_EMPTY_PATH)
	if t.recursive {
		flags |= unix.AT_RECURSIVE
	}
	return unix.MountSetattr(int(tree.Fd()), "", flags, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd()),
	})
}

// userNamespaceOf makes a user namespace with mappings. A namespace needs a process
// when it is made: an init whose socket ends before it is told anything.
func (r *Runtime) userNamespaceOf(t mountTree) (ns *os.File, err error) {
	ctl, theirs, err := newControl()
	if err != nil {
		return nil, err
	}
	defer ctl.close()
	files, closeNull, err := standardFiles(Stdio{}, false)
	if err != nil {
		_ = theirs.Close()
		return nil, err
	}
	defer closeNull()
	if err := r.seal(); err != nil {
		_ = theirs.Close()
		return nil, err
	}
	ch, err := r.fork(spawnOptions{files: append(files, theirs), uidMap: t.uidMap, gidMap: t.gidMap})
	_ = theirs.Close()
	if err != nil {
		return nil, err
	}
	defer func() {
		ctl.close()
		var status unix.WaitStatus // fails where another process is the parent, and reaps
		_, _ = unix.Wait4(ch.pid, &status, 0, nil)
		_ = ch.pidfd.Close()
	}()
	return os.Open("/proc/" + strconv.Itoa(ch.pid) + "/ns/user")
}

// selinuxEnabled tells whether labels mean anything on this host.
func selinuxEnabled() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

// AppArmorEnabled tells whether the host's kernel confines programs by AppArmor.
func AppArmorEnabled() bool {
	b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(b), "Y")
}
