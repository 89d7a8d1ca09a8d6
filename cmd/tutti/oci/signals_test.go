package oci

import (
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// deafEnv makes this program block and ignore signals, and then become the program in its arguments.
const deafEnv = "TUTTI_TEST_DEAF"

func init() {
	if os.Getenv(deafEnv) == "" {
		return
	}
	runtime.LockOSThread()
	signal.Ignore(syscall.SIGHUP, syscall.SIGUSR1, syscall.Signal(50))
	var set unix.Sigset_t
	for _, sig := range []uint{2, 32, 40, 64} {
		set.Val[0] |= 1 << (sig - 1)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil); err != nil {
		panic(err)
	}
	panic(syscall.Exec(os.Args[1], os.Args[1:], os.Environ()))
}

// A container must not inherit signals that whoever called the runtime blocks or ignores.
func TestSignalsAreReset(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	inner := p.command("run", "--bundle", p.bundle(nil, "cat", "/proc/self/status"), "c")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append([]string{inner.Path}, inner.Args[1:]...)...)
	cmd.Env = append(os.Environ(), deafEnv+"=1")
	r := p.finish(cmd)
	for _, want := range []string{"SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"} {
		if r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("%s\nwant %s", r, want)
		}
	}
}
