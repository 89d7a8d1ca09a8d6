package runtime

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Escapes by what is changed while a container starts; docs/security.md lists them. Every test here was seen to fail
// with the defence taken out: with RESOLVE_IN_ROOT replaced by plain paths, with the targets' file systems unchecked,
// with modes set by path.

// swaps is how many containers are started while an attacker swaps their mount targets. The published figure for
// CVE-2021-30465 is one success in some hundreds: go test ./runtime -run Swapped -swaps 1000
var swaps = flag.Int("swaps", 40, "containers to start against an attacker")

// exchange swaps two paths all the time until the test has ended, or the returned function is called.
func exchange(t *testing.T, a, b string) (stop func()) {
	t.Helper()
	quit, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-quit:
				done <- nil
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
				done <- err
				return
			}
		}
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		close(quit)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func mkdir(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// tryStart makes and starts a container that may fail, and removes it.
func tryStart(t *testing.T, r *Runtime, id string, s *specs.Spec) error {
	t.Helper()
	c, err := r.Create(testContext(t), id, s, CreateOptions{})
	if err != nil {
		return err
	}
	err = c.Start(testContext(t))
	if derr := c.Delete(testContext(t)); derr != nil {
		t.Error(derr)
	}
	return err
}

// Mount targets that another container swaps all the time never lead to the host: nothing is mounted there
// (CVE-2021-30465), no folder and no file is made there (CVE-2024-45310).
func TestSwappedTarget(t *testing.T) {
	t.Parallel()
	r, shared, secret, file := newRuntime(t), t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "file")
	put(t, file, "given", 0o644)
	mkdir(t, shared+"/dir", 0o755)
	symlink(t, "../../../../../../../../"+secret, shared+"/link")
	stop := exchange(t, shared+"/dir", shared+"/link")
	started, ctx := 0, testContext(t)
	for i := 0; i < *swaps || started == 0 && ctx.Err() == nil; i++ { // few may hit on the moment in which all is well
		s := testSpec(rootfs(t), "true")
		s.Mounts = append(s.Mounts, bind(shared, "/shared"),
			specs.Mount{Destination: "/shared/dir/x", Type: "tmpfs", Source: "tmpfs"},
			bind(t.TempDir(), "/shared/dir/y/z"), bind(file, "/shared/dir/file"))
		if err := tryStart(t, r, fmt.Sprint("c", i), s); err == nil { // one that was hit in the middle of a swap may fail
			started++
		}
	}
	stop()
	if left, err := os.ReadDir(secret); err != nil || len(left) > 0 {
		t.Fatalf("made on the host: %v, %v", left, err)
	}
	if started == 0 {
		t.Error("no container could be started at all")
	}
}

// A tmpfs gets the mode of the folder that it covers, and nothing else gets it: a target that is swapped between the
// mount and the change of its mode must not lend that mode to a folder of the image.
func TestSwappedTargetKeepsModes(t *testing.T) {
	t.Parallel()
	r, shared, root := newRuntime(t), t.TempDir(), rootfs(t)
	mkdir(t, root+"/victim", 0o700)
	mkdir(t, shared+"/dir", 0o777)
	symlink(t, "/victim", shared+"/link")
	exchange(t, shared+"/dir", shared+"/link")
	for i := range 2 * *swaps {
		s := testSpec(root, "true")
		s.Mounts = append(s.Mounts, bind(shared, "/shared"), specs.Mount{Destination: "/shared/dir", Type: "tmpfs", Source: "tmpfs"})
		_ = tryStart(t, r, fmt.Sprint("c", i), s)
		if st, err := os.Stat(root + "/victim"); err != nil || st.Mode().Perm() != 0o700 {
			t.Fatalf("after %d starts a folder of the image has mode %v, %v", i, st.Mode(), err)
		}
	}
}

// Links of an image or a volume must not put a mount over a part of /proc: what the runtime writes there, or what it
// masks, would be the attacker's (CVE-2019-16884, CVE-2025-52881).
func TestMountOverProcfs(t *testing.T) {
	t.Parallel()
	r, host, volume := newRuntime(t), t.TempDir(), t.TempDir()
	root := rootfs(t)
	symlink(t, "/proc", root+"/whole")
	symlink(t, "/proc/sys/net/ipv4", root+"/sysctls")
	symlink(t, "../proc/self/attr", volume+"/label")
	for _, m := range []specs.Mount{
		bind(host, "/whole"), bind(host, "/sysctls"), bind(host, "/volume/label"),
		{Destination: "/whole/fs", Type: "tmpfs", Source: "tmpfs"},
		{Destination: "/sysctls", Type: "tmpfs", Source: "tmpfs"},
	} {
		s := testSpec(root, "true")
		s.Mounts = append(s.Mounts, bind(volume, "/volume"), m)
		if err := tryStart(t, r, "c"+random(), s); err == nil || !strings.Contains(err.Error(), "procfs") {
			t.Errorf("a mount on %s: %v", m.Destination, err)
		}
	}
	// As lxcfs does it: by its own name.
	put(t, host+"/uptime", "0.0 0.0\n", 0o644)
	s := testSpec(root, "cat", "/proc/uptime")
	s.Mounts = append(s.Mounts, bind(host+"/uptime", "/proc/uptime"))
	if out, _ := run(t, r, s); out != "0.0 0.0\n" {
		t.Errorf("/proc/uptime: %s", out)
	}
}

// Values of sysctls reach procfs and nothing else, also when the container has none (CVE-2025-52881).
func TestSysctlsGoToProcfs(t *testing.T) {
	t.Parallel()
	root := rootfs(t)
	fake := root + "/proc/sys/net/ipv4"
	mkdir(t, fake, 0o755)
	put(t, fake+"/ip_unprivileged_port_start", "untouched", 0o644)
	s := testSpec(root, "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start")
	s.Mounts = s.Mounts[1:] // all but /proc
	s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
	if out, status := run(t, newRuntime(t), s); out != "untouched" {
		t.Errorf("%q, %+v", out, status)
	}
}

// hostileDev is a folder for /dev whose null device, terminals and console an attacker swaps with links to files of
// /proc that would be bound over what is to be masked, or be opened in place of a terminal.
func hostileDev(t *testing.T) string {
	t.Helper()
	dev := t.TempDir()
	if err := unix.Mknod(dev+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"pts", "shm", "mqueue"} {
		mkdir(t, filepath.Join(dev, d), 0o755)
	}
	put(t, dev+"/console", "", 0o644)
	symlink(t, "/proc/sys/kernel/core_pattern", dev+"/evil-null")
	symlink(t, "/proc/sys/kernel/core_pattern", dev+"/evil-console")
	symlink(t, "/proc/self/fd", dev+"/evil-pts")
	return dev
}

// Masks come from the host's null device, which is verified, and terminals from their master: whatever an attacker puts
// at /dev/null, /dev/pts and /dev/console meanwhile, /proc stays masked and read-only (CVE-2025-31133, CVE-2025-52565).
func TestSwappedDevices(t *testing.T) {
	t.Parallel()
	r, root := newRuntime(t), rootfs(t)
	before, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile("/proc/sys/kernel/core_pattern", before, 0) })
	dev := hostileDev(t)
	for _, name := range []string{"null", "console", "pts"} {
		exchange(t, dev+"/"+name, dev+"/evil-"+name)
	}
	made, ran, ctx := 0, 0, testContext(t)
	for i := 0; i < *swaps/2 || ran == 0 && ctx.Err() == nil; i++ { // few may hit on the moment in which all is well
		s := testSpec(root, "sh", "-c", `
(echo taken > /proc/sys/kernel/core_pattern) 2>/dev/null && echo "WRITTEN core_pattern" >> /seen
(echo x > /proc/sysrq-trigger) 2>/dev/null && echo "WRITTEN sysrq" >> /seen
for f in /proc/keys /proc/timer_list /proc/interrupts; do echo taken > $f; [ -e $f ] && [ -n "$(head -c 10 $f)" ] && echo "READ $f" >> /seen; done
echo ran >> /ran`)
		for m := range s.Mounts {
			if s.Mounts[m].Destination == "/dev" {
				s.Mounts[m] = bind(dev, "/dev")
			}
		}
		s.Process.Terminal = i%2 == 0
		c, err := r.Create(testContext(t), fmt.Sprint("c", i), s, CreateOptions{})
		if err != nil {
			continue // in the middle of a swap
		}
		if err := c.Start(testContext(t)); err != nil {
			t.Error(err)
		} else if _, err := c.Wait(testContext(t)); err != nil {
			t.Error(err)
		}
		if c.Console != nil {
			_ = c.Console.Close()
		}
		if err := c.Delete(testContext(t)); err != nil {
			t.Error(err)
		}
		made++
		b, _ := os.ReadFile(root + "/ran")
		ran = strings.Count(string(b), "ran")
	}
	if seen, err := os.ReadFile(root + "/seen"); err == nil {
		t.Errorf("seen from inside: %s", seen)
	}
	if after, err := os.ReadFile("/proc/sys/kernel/core_pattern"); err != nil || string(after) != string(before) {
		t.Fatalf("the host's core_pattern is %q, was %q, %v", after, before, err)
	}
	if ran == 0 {
		t.Errorf("of %d containers that were made none ran", made)
	}
}

// What enters a container holds the engine's rights until it becomes the container's program. A process in the
// container that may trace others (cap_add: SYS_PTRACE) must get neither at it nor through it at the host's files
// (CVE-2016-9962).
func TestExecAmongTracers(t *testing.T) {
	t.Parallel()
	r, root, canary := newRuntime(t), rootfs(t), t.TempDir()
	put(t, canary+"/canary", "", 0o644)
	s := testSpec(root, "sh", "-c", `while :; do for p in /proc/[0-9]*; do
	[ -e $p/root`+canary+`/canary ] && echo "$p reaches the host" >> /tmp/seen
	[ -e $p/cwd/`+canary+`/canary ] && echo "$p reaches the host by its cwd" >> /tmp/seen
	l=$(readlink $p/fd/3 $p/fd/4 2>/dev/null) && case "$l" in *memfd*|*socket*|*pidfd*) echo "$p $l" >> /tmp/seen;; esac
	done; done`)
	if err := SetCapabilities(s, []string{"SYS_PTRACE"}, nil); err != nil {
		t.Fatal(err)
	}
	c := start(t, r, s, CreateOptions{})
	for range *swaps {
		execute(t, c, process("true"))
	}
	if seen, err := os.ReadFile(root + "/tmp/seen"); err == nil {
		t.Fatalf("seen from inside: %s", seen)
	}
}
