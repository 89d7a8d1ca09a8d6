package main

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
	"tutti/runtime/wire"
)

// The rules of "user[:group]" are docker's (github.com/moby/sys/user, GetExecUser):
// what looks like a number is one and needs no entry, a user without an explicit
// group gets its supplementary groups.

// maxID is the highest user or group number; above it the kernel's int would wrap
// (CVE-2024-40635).
const maxID = 1<<31 - 1

// maxDatabase bounds what is read of an image's /etc/passwd.
const maxDatabase = 16 << 20

// identity is what the program runs as.
type identity struct {
	uid, gid uint32
	groups   []uint32
	home     string
}

// lookup resolves the process's user inside the root this process is in.
func lookup(p *wire.Process) (identity, error) {
	id := identity{uid: p.UID, gid: p.GID, groups: p.Groups}
	name, group, hasGroup := strings.Cut(p.User, ":")
	passwd, err := readDatabase("/etc/passwd")
	if err != nil {
		return id, err
	}
	login := ""
	if name == "" && !hasGroup {
		login = strconv.Itoa(int(p.UID))
		_, id.home, _ = findUser(passwd, login, &identity{})
	} else {
		if name == "" {
			name = "0"
		}
		var known bool
		login, id.home, known = findUser(passwd, name, &id)
		if !known {
			uid, ok := number(name)
			if !ok {
				return id, refused("look up user", "unable to find user "+name+": no matching entries in passwd file")
			}
			id.uid, id.gid = uid, 0
		}
		if err := lookupGroup(&id, login, group, known); err != nil {
			return id, err
		}
	}
	if id.home == "" {
		id.home = "/"
	}
	if id.uid > maxID || id.gid > maxID {
		return id, refused("look up user", "user and group must be between 0 and 2147483647")
	}
	if err := addGroups(&id, p.GroupNames); err != nil {
		return id, err
	}
	if (name != "" || hasGroup) && !slices.Contains(id.groups, id.gid) {
		// The primary group is a supplementary one too, as docker has it: a program that only changes its group must
		// not lose it where that forbids more than it allows (CVE-2022-36109).
		id.groups = append([]uint32{id.gid}, id.groups...)
	}
	return id, nil
}

// findUser looks for a user number or a login name, and sets uid and gid.
func findUser(passwd, name string, id *identity) (login, home string, ok bool) {
	uid, isNumber := number(name)
	for line := range strings.SplitSeq(passwd, "\n") {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 6 {
			continue
		}
		u, uok := number(f[2])
		g, gok := number(f[3])
		if !uok || !gok || (isNumber && u != uid) || (!isNumber && f[0] != name) {
			continue
		}
		id.uid, id.gid = u, g
		return f[0], f[5], true
	}
	return "", "", false
}

func lookupGroup(id *identity, login, group string, known bool) error {
	if group == "" && !known {
		return nil
	}
	db, err := readDatabase("/etc/group")
	if err != nil {
		return err
	}
	if group == "" {
		id.groups = append(id.groups, membership(db, login)...)
		return nil
	}
	gid, ok := findGroup(db, group)
	if !ok {
		return refused("look up group", "unable to find group "+group+": no matching entries in group file")
	}
	id.gid = gid
	return nil
}

// findGroup turns a group's number or name into its number.
func findGroup(db, name string) (uint32, bool) {
	if gid, ok := number(name); ok {
		return gid, true
	}
	for line := range strings.SplitSeq(db, "\n") {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) >= 3 && f[0] == name {
			if gid, ok := number(f[2]); ok {
				return gid, true
			}
		}
	}
	return 0, false
}

// membership returns the groups that list login as a member.
func membership(db, login string) []uint32 {
	var groups []uint32
	for line := range strings.SplitSeq(db, "\n") {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 {
			continue
		}
		gid, ok := number(f[2])
		if !ok {
			continue
		}
		for member := range strings.SplitSeq(f[3], ",") {
			if member == login && login != "" {
				groups = append(groups, gid)
				break
			}
		}
	}
	return groups
}

func addGroups(id *identity, names []string) error {
	if len(names) == 0 {
		return nil
	}
	db, err := readDatabase("/etc/group")
	if err != nil {
		return err
	}
	for _, name := range names {
		gid, ok := findGroup(db, name)
		if !ok {
			return refused("look up group", "unable to find group "+name)
		}
		id.groups = append(id.groups, gid)
	}
	return nil
}

// number parses a user or group number in the range that docker allows.
func number(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n <= maxID
}

// readDatabase reads a file of the image; a missing one is empty. It may be
// hostile: a link out, a FIFO that blocks, a device without an end.
func readDatabase(path string) (string, error) {
	step := "read " + path
	fd, err := inroot.Open(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, inroot.Resolve)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return "", nil
	}
	if err != nil {
		return "", failed(step, err)
	}
	defer unix.Close(fd) //nolint:errcheck // opened for reading
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", failed(step, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > maxDatabase {
		return "", refused(step, "not a regular file of a sane size")
	}
	b := make([]byte, st.Size)
	n := 0
	for n < len(b) {
		m, err := unix.Read(fd, b[n:])
		if err != nil && err != unix.EINTR {
			return "", failed(step, err)
		}
		if m <= 0 {
			break
		}
		n += m
	}
	return string(b[:n]), nil
}
