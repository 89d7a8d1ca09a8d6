package runtime

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHighDescriptors: init must be found whatever numbers the descriptors have that it is given, also when they end right
// before that of its program: the child makes copies of them behind the highest.
func TestHighDescriptors(t *testing.T) {
	t.Parallel()
	r, root := newRuntime(t), rootfs(t)
	for distance := 1; distance <= 8; distance++ {
		// init's program becomes the first free number from 200 on, one file of the container the one so much below.
		low, err := unix.FcntlInt(os.Stdout.Fd(), unix.F_DUPFD_CLOEXEC, 200)
		if err != nil {
			t.Fatal(err)
		}
		out := os.NewFile(uintptr(low), "out")
		high, err := unix.FcntlInt(r.init.Fd(), unix.F_DUPFD_CLOEXEC, low+distance)
		if err != nil {
			t.Fatal(err)
		}
		before, path := r.init, r.initPath
		r.init = os.NewFile(uintptr(high), "init")
		r.initPath = procPath(r.init)
		c := create(t, r, testSpec(root, "sleep", "1000"), CreateOptions{Stdio: Stdio{Stdout: out}})
		if err := c.Start(testContext(t)); err != nil {
			t.Errorf("program %d, highest file %d: %v", high, low, err)
		}
		if err := c.Kill(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		_ = r.init.Close()
		_ = out.Close()
		r.init, r.initPath = before, path
	}
}
