package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/cgroup"
	"tutti/scheduler/container"
)

// Facts are what there is to know of the host and of the engine as a whole.
type Facts struct {
	ID                       string // of the state root, on this host
	Running, Paused, Stopped int    // containers
	Images                   int
	Files, Goroutines        int    // of the engine
	Forwarding               bool   // IPv4
	CgroupDriver             string // cgroupfs or systemd
	CgroupVersion            string // "1" or "2"
	Kernel, Machine, Host    string // uname(2)
	OS, OSVersion            string // os-release(5)
	CPUs                     int
	Memory                   int64 // bytes
	Security                 []string
	Time                     string // RFC 3339
}

// Facts looks at the host.
func (e *Engine) Facts(ctx context.Context) (Facts, error) {
	f := Facts{ID: e.Paths.Instance(), CgroupDriver: "cgroupfs", CPUs: goruntime.NumCPU(), Goroutines: goruntime.NumGoroutine(), Time: time.Now().Format(time.RFC3339Nano)}
	images, err := e.ImageStore.List(ctx)
	if err != nil {
		return f, err
	}
	f.Images = len(images)
	for _, u := range e.SelectUnits(func(*container.Config) bool { return true }) {
		switch s := u.Snapshot(); {
		case s.Status == container.Paused:
			f.Paused++
		case s.Alive():
			f.Running++
		default:
			f.Stopped++
		}
	}
	host, err := cgroup.Detect()
	if err != nil {
		return f, err
	}
	f.CgroupVersion = strconv.Itoa(host.Version())
	var u unix.Utsname
	var s unix.Sysinfo_t
	if err := errors.Join(unix.Uname(&u), unix.Sysinfo(&s)); err != nil {
		return f, fmt.Errorf("ask the kernel: %w", err)
	}
	f.Kernel, f.Machine, f.Host = unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:]), unix.ByteSliceToString(u.Nodename[:])
	f.Memory = int64(s.Totalram) * int64(s.Unit)
	if l, err := os.ReadDir("/proc/self/fd"); err == nil {
		f.Files = len(l)
	}
	on, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	f.Forwarding = err == nil && strings.TrimSpace(string(on)) == "1"
	f.OS, f.OSVersion = release()
	f.Security = []string{"name=seccomp,profile=builtin"}
	if _, err := os.Stat("/sys/kernel/security/apparmor"); err == nil {
		f.Security = append([]string{"name=apparmor"}, f.Security...)
	}
	if host.Version() == 2 {
		f.Security = append(f.Security, "name=cgroupns")
	}
	return f, nil
}

// release is the name and the version of the host's system; a host without os-release(5) has none.
func release() (name, version string) {
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", ""
		}
		defer file.Close()
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			key, value, _ := strings.Cut(lines.Text(), "=")
			if unquoted, err := strconv.Unquote(value); err == nil {
				value = unquoted
			}
			switch key {
			case "PRETTY_NAME":
				name = value
			case "VERSION_ID":
				version = value
			}
		}
		return name, version
	}
	return "", ""
}
