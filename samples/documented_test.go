package samples

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tutti/samples/testdata/probe/facts"
)

// What docker documents about its default container: moby's oci/caps/defaults.go and oci/defaults.go (v28.5.2), and the
// seccomp profile of github.com/moby/profiles, which is read as data and judged here independently of the product's way.

var dockerCaps = strings.Fields("AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT")

var dockerMasked = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
	"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
}

var dockerReadOnly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

// dockerDevices can be opened: moby's list, and what the OCI runtime specification adds (config-linux.md, Default Devices).
var dockerDevices = []string{"c 136:0", "c 136:1", "c 136:2", "c 136:3", "c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:0", "c 5:1", "c 5:2"}

var dockerNodes = map[string]string{
	"/dev/null": "c 1:3 666", "/dev/zero": "c 1:5 666", "/dev/full": "c 1:7 666", "/dev/random": "c 1:8 666",
	"/dev/urandom": "c 1:9 666", "/dev/tty": "c 5:0 666", "/dev/pts/ptmx": "c 5:2 666",
	"/dev/fd": "-> /proc/self/fd", "/dev/stdin": "-> /proc/self/fd/0", "/dev/stdout": "-> /proc/self/fd/1", "/dev/stderr": "-> /proc/self/fd/2",
	"/dev/ptmx": "-> pts/ptmx", "/dev/core": "-> /proc/kcore",
	"/dev/pts": "dir 755", "/dev/mqueue": "dir 1777", "/dev/shm": "dir 1777",
}

// dockerMounts are the type, the flags that restrict, and the options that matter. A bind's type is the host's business.
var dockerMounts = []struct{ target, is string }{
	{"/", "overlay"},
	{"/proc", "proc, nosuid, nodev, noexec"},
	{"/dev", "tmpfs, nosuid, mode=755, size=65536k"},
	{"/dev/pts", "devpts, nosuid, noexec, gid=5, mode=620, ptmxmode=666"},
	{"/dev/mqueue", "mqueue, nosuid, nodev, noexec"},
	{"/dev/shm", "tmpfs, nosuid, nodev, noexec, size=65536k"},
	{"/sys", "sysfs, ro, nosuid, nodev, noexec"},
	{"/sys/fs/cgroup", "cgroup, ro, nosuid, nodev, noexec"},
	{"/etc/resolv.conf", "bind"},
	{"/etc/hostname", "bind"},
	{"/etc/hosts", "bind"},
}

// request is what the probe is asked to look at.
func request() facts.Request {
	masked := slices.Clone(dockerMasked)
	throttle, _ := filepath.Glob("/sys/devices/system/cpu/cpu*/thermal_throttle") // the pattern is well formed
	return facts.Request{Masked: append(masked, throttle...), ReadOnly: dockerReadOnly}
}

// profile is docker's seccomp profile.
type profile struct {
	DefaultErrnoRet int
	Syscalls        []profileRule
}

type profileRule struct {
	Names    []string
	Action   string
	ErrnoRet int
	Args     []struct {
		Index    int
		Value    uint64
		ValueTwo uint64
		Op       string
	}
	Includes, Excludes struct{ Caps, Arches []string }
}

func readProfile(t testing.TB) profile {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(moduleDir(t, "github.com/moby/profiles/seccomp"), "default.json"))
	if err != nil {
		t.Fatal(err)
	}
	var p profile
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Syscalls) < 10 {
		t.Fatalf("the profile has %d rules", len(p.Syscalls))
	}
	return p
}

func moduleDir(t testing.TB, module string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("find module %s: %v", module, err)
	}
	return strings.TrimSpace(string(out))
}

// verdict is 0 where the profile allows a call, else the error.
func (p *profile) verdict(name string, caps []string, arg0 uint64) int {
	found := p.DefaultErrnoRet
	for _, r := range p.Syscalls {
		if !slices.Contains(r.Names, name) || !r.applies(caps) || !r.matches(arg0) {
			continue
		}
		if r.Action == "SCMP_ACT_ALLOW" {
			return 0
		}
		found = r.ErrnoRet
	}
	return found
}

// newest is the highest number of all calls that the profile knows.
func (p *profile) newest(names map[int]string) int {
	newest := 0
	for nr, name := range names {
		if nr > newest && slices.ContainsFunc(p.Syscalls, func(r profileRule) bool { return slices.Contains(r.Names, name) }) {
			newest = nr
		}
	}
	return newest
}

func (r *profileRule) applies(caps []string) bool {
	held := func(c string) bool { return slices.Contains(caps, strings.TrimPrefix(c, "CAP_")) }
	native := func(a string) bool { return a == "amd64" }
	return (len(r.Includes.Caps) == 0 || slices.ContainsFunc(r.Includes.Caps, held)) && !slices.ContainsFunc(r.Excludes.Caps, held) &&
		(len(r.Includes.Arches) == 0 || slices.ContainsFunc(r.Includes.Arches, native)) && !slices.ContainsFunc(r.Excludes.Arches, native)
}

// matches holds for calls whose other arguments are 0.
func (r *profileRule) matches(arg0 uint64) bool {
	for _, a := range r.Args {
		v := uint64(0)
		if a.Index == 0 {
			v = arg0
		}
		var ok bool
		switch a.Op {
		case "SCMP_CMP_EQ":
			ok = v == a.Value
		case "SCMP_CMP_LT":
			ok = v < a.Value
		case "SCMP_CMP_GT":
			ok = v > a.Value
		case "SCMP_CMP_MASKED_EQ":
			ok = v&a.Value == a.ValueTwo
		default:
			panic("the profile has a new operator: " + a.Op)
		}
		if !ok {
			return false
		}
	}
	return true
}

var numbered = regexp.MustCompile(`(?m)^\tSYS_(\w+)\s+= (\d+)$`)

// callNames are the kernel's names by number, as golang.org/x/sys generates them from its headers.
func callNames(t testing.TB, arch string) map[int]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(moduleDir(t, "golang.org/x/sys"), "unix", "zsysnum_linux_"+arch+".go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[int]string{}
	for _, m := range numbered.FindAllStringSubmatch(string(b), -1) {
		n, _ := strconv.Atoi(m[2])
		names[n] = strings.ToLower(m[1])
	}
	if len(names) < 300 {
		t.Fatalf("%d system calls of %s", len(names), arch)
	}
	return names
}

var capabilityNames = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
		NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
		SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
		MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)

// capabilities names the bits of a line of /proc/<pid>/status, sorted.
func capabilities(hex string) []string {
	mask, err := strconv.ParseUint(hex, 16, 64)
	if err != nil {
		return []string{"unreadable: " + hex}
	}
	names := []string{}
	for bit := range 64 {
		switch {
		case mask&(1<<bit) == 0:
		case bit < len(capabilityNames):
			names = append(names, capabilityNames[bit])
		default:
			names = append(names, strconv.Itoa(bit))
		}
	}
	slices.Sort(names)
	return names
}

// errno names a verdict.
func errno(v int) string {
	if v == 0 {
		return "allowed"
	}
	return unix.ErrnoName(unix.Errno(v)) //nolint:gosec // an error's number
}
