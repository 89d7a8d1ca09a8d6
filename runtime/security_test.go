package runtime

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime/initbin"
)

// status picks fields of /proc/self/status.
func status(out string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(out) {
		key, value, ok := strings.Cut(line, ":")
		if ok {
			m[key] = strings.TrimSpace(value)
		}
	}
	return m
}

// The default container has docker's capabilities, seccomp mode 2 and nothing to
// inherit, started and entered alike (CVE-2022-24769, CVE-2022-29162).
func TestDefaultPrivileges(t *testing.T) {
	t.Parallel()
	const docker = "00000000a80425fb"
	r := newRuntime(t)
	spec := testSpec(rootfs(t), "sleep", "1000")
	c := start(t, r, spec, CreateOptions{})
	app := specs.User{Username: "app"}
	for name, x := range map[string]struct {
		user     specs.User
		nnp      bool
		eff, bnd string
	}{
		"root":                  {eff: docker, bnd: docker},
		"user":                  {user: app, eff: "0000000000000000", bnd: docker},
		"root, no_new_privs":    {nnp: true, eff: docker, bnd: docker},
		"user and no_new_privs": {user: app, nnp: true, eff: "0000000000000000", bnd: docker},
	} {
		want := map[string]string{
			"CapEff": x.eff, "CapPrm": x.eff, "CapBnd": x.bnd, "CapInh": "0000000000000000", "CapAmb": "0000000000000000",
			"Seccomp": "2", "NoNewPrivs": map[bool]string{true: "1", false: "0"}[x.nnp],
		}
		check := func(how, out string) {
			got := status(out)
			for k, v := range want {
				if got[k] != v {
					t.Errorf("%s as %s: %s is %s, want %s", how, name, k, got[k], v)
				}
			}
		}
		s := testSpec(rootfs(t), "cat", "/proc/self/status")
		s.Process.User, s.Process.NoNewPrivileges = x.user, x.nnp
		out, _ := run(t, r, s)
		check("run", out)
		p := process("cat", "/proc/self/status")
		p.User, p.NoNewPrivileges = x.user, x.nnp
		out, _ = execute(t, c, p)
		check("exec", out)
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	r, root := newRuntime(t), rootfs(t)
	for name, x := range map[string]struct {
		add, drop []string
		want      string
	}{
		"drop all":             {drop: []string{"ALL"}, want: "0000000000000000"},
		"drop all, add one":    {add: []string{"net_admin"}, drop: []string{"all"}, want: "0000000000001000"},
		"add and drop by name": {add: []string{"CAP_SYS_PTRACE"}, drop: []string{"CHOWN"}, want: "00000000a80c25fa"},
	} {
		s := testSpec(root, "cat", "/proc/self/status")
		if err := SetCapabilities(s, x.add, x.drop); err != nil {
			t.Fatal(err)
		}
		out, _ := run(t, r, s)
		if got := status(out)["CapEff"]; got != x.want {
			t.Errorf("%s: %s, want %s", name, got, x.want)
		}
	}
	if err := SetCapabilities(testSpec(root), []string{"nonsense"}, nil); err == nil {
		t.Error("an unknown capability was accepted")
	}
}

// An ambient capability reaches a program that is not root's.
func TestAmbientCapability(t *testing.T) {
	t.Parallel()
	s := testSpec(rootfs(t), "cat", "/proc/self/status")
	s.Process.User.UID = 1000
	bind := []string{"CAP_NET_BIND_SERVICE"}
	s.Process.Capabilities.Inheritable, s.Process.Capabilities.Ambient = bind, bind
	out, _ := run(t, newRuntime(t), s)
	if got := status(out)["CapEff"]; got != "0000000000000400" {
		t.Fatal(got)
	}
}

func TestPrivileged(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	s := testSpec(rootfs(t), "sh", "-c", "cat /proc/self/status; mount -t tmpfs none /tmp && echo mounted; mkdir $(ls -d /sys/fs/cgroup/pids /sys/fs/cgroup 2>/dev/null | head -n 1)/sub && echo cgroup writable")
	if err := SetPrivileged(s); err != nil {
		t.Fatal(err)
	}
	out, _ := run(t, r, s)
	if status(out)["Seccomp"] != "0" || !strings.Contains(out, "mounted") || !strings.Contains(out, "cgroup writable") {
		t.Fatal(out)
	}
}

// What docker masks and protects cannot be read and written.
func TestMaskedAndReadonlyPaths(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	s := testSpec(rootfs(t), "sh", "-c", `
for f in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts /proc/sched_debug; do [ -e $f ] && echo "$f $(head -c 100 $f | wc -c)"; done
for d in /proc/acpi /proc/scsi /sys/firmware /sys/devices/virtual/powercap; do [ -e $d ] && echo "$d $(ls $d | wc -l)"; done
for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/x /proc/fs/x /proc/bus/x /sys/x /sys/fs/cgroup/x /sys/fs/cgroup/pids/x /proc/acpi/x /sys/fs/cgroup/memory/memory.limit_in_bytes; do (echo 1 > $f) 2>/dev/null && echo "WRITTEN $f"; done
mount`)
	out, _ := run(t, r, s)
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if f[0] == "WRITTEN" || (len(f) == 2 && f[1] != "0") {
			t.Error(strings.TrimSpace(line))
		}
	}
	for _, want := range []string{"/proc/kcore", "/proc/timer_list", "/proc/interrupts", "/sys/firmware", " on /proc/sys type proc (ro,"} {
		if _, err := os.Stat(want); err == nil && !strings.Contains(out, want) {
			t.Errorf("%s is not covered:\n%s", want, out)
		}
	}
	if strings.Contains(out, "shared:") {
		t.Error("a mount is shared with the host")
	}
}

// cgroup v1 release_agent (CVE-2022-0492) and other ways that need mount(2).
func TestMountIsRefused(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	out, _ := run(t, r, testSpec(rootfs(t), "sh", "-c",
		`unshare -m true; unshare -U true; unshare -n true; mount -t tmpfs none /tmp; mount -t cgroup -o memory none /tmp; mount -o remount,rw /sys; echo end`))
	if n := strings.Count(out, "Operation not permitted") + strings.Count(out, "ermission denied"); n != 6 {
		t.Fatalf("%d of 6 were refused:\n%s", n, out)
	}
}

// Device nodes can be made, as docker allows, but not opened.
func TestDevices(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	out, _ := run(t, r, testSpec(rootfs(t), "sh", "-c",
		`mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg; mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem; mknod /tmp/vda b 254 0 && head -c 1 /tmp/vda; mknod /tmp/null c 1 3 && echo x > /tmp/null && echo null works; for d in null zero full random urandom tty; do [ -c /dev/$d ] || echo missing $d; done`))
	if strings.Count(out, "Operation not permitted") != 3 || !strings.Contains(out, "null works") || strings.Contains(out, "missing") {
		t.Fatal(out)
	}
	s := testSpec(rootfs(t), "sh", "-c", ": < /dev/given && echo readable; : > /dev/given")
	host := []string{"/dev/fuse", "/dev/loop-control", "/dev/cpu_dma_latency"} // one that this host has
	host = slices.DeleteFunc(host, func(p string) bool { _, err := os.Stat(p); return err != nil })
	if len(host) == 0 {
		t.Fatal("the host has no device to test with")
	}
	if err := AddDevice(s, host[0], "/dev/given", "r"); err != nil {
		t.Fatal(err)
	}
	out, _ = run(t, r, s)
	if !strings.Contains(out, "readable") || !strings.Contains(out, "not permitted") {
		t.Fatal(out)
	}
}

// No descriptor of the engine reaches a container, not even one that is not
// close-on-exec (CVE-2016-9962, CVE-2024-21626).
func TestNoDescriptorLeaks(t *testing.T) {
	t.Parallel()
	leak, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close() //nolint:errcheck // opened for reading
	clearCloseOnExec(t, leak)
	r := newRuntime(t)
	for _, init := range []bool{false, true} {
		w, output := pipe(t)
		s := testSpec(rootfs(t), "sh", "-c", "readlink /proc/self/fd/*; echo; for p in /proc/[0-9]*; do ls -l $p/fd; done 2>/dev/null")
		c := start(t, r, s, CreateOptions{Init: init, Stdio: Stdio{Stdout: w, Stderr: w}})
		if _, err := c.Wait(testContext(t)); err != nil {
			t.Fatal(err)
		}
		out := output()
		for line := range strings.Lines(out) {
			_, target, ok := strings.Cut(strings.TrimSpace(line), " -> ")
			if ok && target != "/dev/null" && !strings.HasPrefix(target, "pipe:") && !strings.HasPrefix(target, "anon_inode:[event") &&
				!strings.HasPrefix(target, "/proc") {
				t.Errorf("init %v: %s", init, line)
			}
		}
	}
	c := start(t, r, testSpec(rootfs(t), "sleep", "1000"), CreateOptions{})
	out, _ := execute(t, c, process("sh", "-c", "ls /proc/self/fd | tr '\\n' ' '; ls /proc/1/fd | tr '\\n' ' '"))
	if out != "0 1 2 3 0 1 2 " { // 3 is ls's own
		t.Errorf("exec: %q", out)
	}
}

// The working directory cannot lead to the host (CVE-2024-21626).
func TestHostileWorkingDirectory(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	c := start(t, r, testSpec(rootfs(t), "sleep", "1000"), CreateOptions{})
	paths := []string{"/proc/self/cwd", "/proc/self/root", "/proc/1/root", "/link"}
	for fd := 3; fd <= 30; fd++ {
		paths = append(paths, "/proc/self/fd/"+strconv.Itoa(fd))
	}
	root := rootfs(t)
	if err := os.Symlink("/proc/self/fd/7", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		s := testSpec(root, "ls", "../../../../..")
		s.Process.Cwd = path
		if created, err := r.Create(testContext(t), "c"+random(), s, CreateOptions{}); err == nil {
			t.Errorf("run with working directory %s was accepted", path)
			_ = created.Delete(testContext(t))
		}
		p := process("ls", "../../../../..")
		p.Cwd = path
		if path == "/link" {
			continue
		}
		if _, err := c.Exec(testContext(t), "x"+random(), p, Stdio{}); err == nil {
			t.Errorf("exec with working directory %s was accepted", path)
		}
	}
}

// Writing to the runtime through /proc/*/exe is impossible (CVE-2019-5736).
func TestInitCannotBeOverwritten(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	before, err := initbin.Program()
	if err != nil {
		t.Fatal(err)
	}
	s := testSpec(rootfs(t), "sh", "-c",
		`readlink /proc/1/exe; (echo X > /proc/1/exe) 2>&1; dd if=/bin/busybox of=/proc/1/exe conv=notrunc 2>&1 | grep dd:; chmod 777 /proc/1/exe; exec /proc/1/exe`)
	w, output := pipe(t)
	c := start(t, r, s, CreateOptions{Init: true, Stdio: Stdio{Stdout: w, Stderr: w}})
	if _, err := c.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	t.Log(output())
	after := make([]byte, len(before))
	if _, err := r.init.ReadAt(after, 0); err != nil {
		t.Fatal(err)
	}
	if sha256.Sum256(before) != sha256.Sum256(after) {
		t.Fatal("the init program was changed")
	}
	if _, err := r.init.WriteAt([]byte("x"), 0); err == nil {
		t.Fatal("even the engine should not be able to write to it")
	}
	// The entrypoint and an exec of it: the classic way.
	s = testSpec(rootfs(t), "/proc/self/exe")
	if created, err := r.Create(testContext(t), "c"+random(), s, CreateOptions{}); err == nil {
		_ = created.Start(testContext(t))
		_, _ = created.Wait(testContext(t))
		_ = created.Delete(testContext(t))
	}
	if _, err := r.init.ReadAt(after, 0); err != nil || sha256.Sum256(before) != sha256.Sum256(after) {
		t.Fatal("the init program was changed", err)
	}
}

// A process that enters cannot be traced or looked into from inside before it is
// the container's program (CVE-2016-9962): here by a loop that tries all the time.
func TestExecIsOpaque(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	root := rootfs(t)
	s := testSpec(root, "sh", "-c", `while :; do for p in /proc/[0-9]*; do case $p in /proc/1) ;; *) l=$(readlink $p/fd/3 $p/fd/4 $p/exe 2>/dev/null) && case "$l" in *memfd*|*socket*|*pidfd*) echo "$p $l" >> /tmp/seen;; esac;; esac; done; done`)
	c := start(t, r, s, CreateOptions{})
	for range 30 {
		execute(t, c, process("true"))
	}
	if seen, err := os.ReadFile(filepath.Join(root, "tmp/seen")); err == nil {
		t.Fatalf("seen from inside: %s", seen)
	}
}

// Sockets of the engine are not reachable by name: there are no abstract ones (CVE-2020-15257).
func TestNoAbstractSocket(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	s := testSpec(rootfs(t), "cat", "/proc/net/unix")
	ShareNamespace(s, specs.NetworkNamespace, "")
	out, _ := run(t, r, s)
	if strings.Contains(out, "@tutti") {
		t.Fatal(out)
	}
}

// Numbers past 2^31-1 would wrap to root (CVE-2024-40635).
func TestUserNumberOverflow(t *testing.T) {
	t.Parallel()
	r, root := newRuntime(t), rootfs(t)
	for _, user := range []string{"2147483648", "4294967296", "1000:2147483648", "-1"} {
		s := testSpec(root, "id")
		s.Process.User.Username = user
		if c, err := r.Create(testContext(t), "c"+random(), s, CreateOptions{}); err == nil {
			t.Errorf("user %s was accepted", user)
			_ = c.Delete(testContext(t))
		}
	}
}

func TestSysctlInjection(t *testing.T) {
	t.Parallel()
	r, root := newRuntime(t), rootfs(t)
	for key, value := range map[string]string{
		"kernel.shm_rmid_forced":       "1+kernel.core_pattern=|/bin/evil", // refused by the kernel
		"kernel.core_pattern":          "|/bin/evil",
		"net/../kernel/core_pattern":   "x",
		"net.ipv4.ip_forward\n":        "1",
		"kernel.shmmax":                "1\n2",
		"net.../../kernel/sysrq":       "1",
		"fs.mqueue.../../kernel.sysrq": "1",
	} {
		s := testSpec(root, "true")
		s.Linux.Sysctl = map[string]string{key: value}
		if c, err := r.Create(testContext(t), "c"+random(), s, CreateOptions{}); err == nil {
			t.Errorf("sysctl %q=%q was accepted", key, value)
			_ = c.Delete(testContext(t))
		}
	}
	s := testSpec(root, "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/kernel/shmmni")
	s.Linux.Sysctl["kernel.shmmni"] = "77"
	if out, _ := run(t, r, s); out != "0\n77\n" {
		t.Error(out)
	}
}

// The session keyring is not the host's.
func TestKeyring(t *testing.T) {
	t.Parallel()
	out, _ := run(t, newRuntime(t), testSpec(rootfs(t), "cat", "/proc/keys"))
	if out != "" { // masked
		t.Fatal(out)
	}
}

func TestNamespacesDiffer(t *testing.T) {
	t.Parallel()
	r := newRuntime(t)
	names := []string{"mnt", "net", "uts", "pid", "ipc", "cgroup"}
	c := start(t, r, testSpec(rootfs(t), "sleep", "1000"), CreateOptions{})
	for _, ns := range names {
		host, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		out, _ := execute(t, c, process("sh", "-c", "readlink /proc/self/ns/"+ns+"; readlink /proc/1/ns/"+ns))
		lines := strings.Fields(out)
		if len(lines) != 2 || lines[0] != lines[1] || slices.Contains(lines, host) {
			t.Errorf("%s: host %s, exec and init %v", ns, host, lines)
		}
	}
}
