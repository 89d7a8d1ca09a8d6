package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// HostDevices lists the device nodes below a folder of the host, without those
// that a container has of its own (pseudo terminals, the console).
func HostDevices(dir string) ([]specs.LinuxDevice, error) {
	var devices []specs.LinuxDevice
	own := []string{"pts", "shm", "fd", "mqueue", "console"}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // unplugged meanwhile
		}
		if err != nil {
			return err
		}
		if filepath.Dir(p) == "/dev" && slices.Contains(own, d.Name()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.Type()&fs.ModeDevice == 0 {
			return nil
		}
		dev, err := deviceAt(p)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			devices = append(devices, dev)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list devices of the host: %w", err)
	}
	return devices, nil
}

func deviceAt(p string) (specs.LinuxDevice, error) {
	var st unix.Stat_t
	if err := unix.Stat(p, &st); err != nil {
		return specs.LinuxDevice{}, &fs.PathError{Op: "stat", Path: p, Err: err}
	}
	d := specs.LinuxDevice{
		Path: p, Type: "c", Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)),
		UID: &st.Uid, GID: &st.Gid,
	}
	mode := os.FileMode(st.Mode & 0o777)
	d.FileMode = &mode
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
	case unix.S_IFBLK:
		d.Type = "b"
	default:
		return d, fmt.Errorf("%s is not a device", p)
	}
	return d, nil
}

// AddDevice gives the container a device of the host, "/dev/sda" (or a folder of
// devices), at a path of its own with access of the letters r, w and m.
func AddDevice(s *specs.Spec, host, inside, access string) error {
	if inside == "" {
		inside = host
	}
	if access == "" {
		access = "rwm"
	}
	if strings.Trim(access, "rwm") != "" {
		return fmt.Errorf("device %s: invalid access %q", host, access)
	}
	wrap := func(err error) error {
		return fmt.Errorf("error gathering device information while adding custom device %q: %w", host, err)
	}
	real, err := filepath.EvalSymlinks(host)
	if err != nil {
		return wrap(err)
	}
	st, err := os.Stat(real)
	if err != nil {
		return wrap(err)
	}
	var devices []specs.LinuxDevice
	if st.IsDir() {
		devices, err = HostDevices(real)
	} else {
		var d specs.LinuxDevice
		d, err = deviceAt(real)
		devices = append(devices, d)
	}
	if err == nil && len(devices) == 0 {
		err = errors.New("there is no device in that folder")
	}
	if err != nil {
		return wrap(err)
	}
	for _, d := range devices {
		d.Path = path.Join(inside, strings.TrimPrefix(d.Path, real))
		major, minor := d.Major, d.Minor
		s.Linux.Devices = append(s.Linux.Devices, d)
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{
			Allow: true, Type: d.Type, Major: &major, Minor: &minor, Access: access,
		})
	}
	return nil
}

// ShareNamespace makes the container use the host's namespace of a type, or with
// a path that of another container ("/proc/<pid>/ns/net"). Sysctls of a namespace
// that becomes the host's go.
func ShareNamespace(s *specs.Spec, kind specs.LinuxNamespaceType, nsPath string) {
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
	if nsPath != "" {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: nsPath})
		return
	}
	switch kind {
	case specs.NetworkNamespace:
		for key := range s.Linux.Sysctl {
			if strings.HasPrefix(key, "net.") {
				delete(s.Linux.Sysctl, key)
			}
		}
	case specs.UTSNamespace:
		s.Hostname, s.Domainname = "", ""
	default: // nothing else of the spec belongs to a namespace
	}
}
