package dns

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNetns runs f on a thread of its own in a new network namespace with lo up.
// The thread ends with f, and the namespace with the last socket in it.
func inNetns(t *testing.T, f func() error) {
	t.Helper()
	if err := onThread(f); err != nil {
		t.Fatal(err)
	}
}

func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		if unix.Gettid() != unix.Getpid() {
			done <- enterAnd(f)
			return
		}
		// The process's first thread must not be left in a namespace: hold it meanwhile.
		defer runtime.UnlockOSThread()
		done <- onThread(f)
	}()
	return <-done
}

func enterAnd(f func() error) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("new network namespace: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("lo up: %w", err)
	}
	return f()
}

// A program inside a namespace asks 127.0.0.11 by its resolv.conf, through the C
// library and through busybox; names of others come from the host's side.
func TestInNetworkNamespace(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, echo)
	s := newServer(t, Config{Upstreams: use(up.addr)})
	s.Set(theTable())
	conf, _ := ResolvConf(ResolvConfSpec{Host: HostConfig{Search: []string{"lan"}}})
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, conf, 0o644); err != nil { //nolint:gosec // read by all, like the real one
		t.Fatal(err)
	}
	inNetns(t, func() error {
		udp, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(Listen))
		if err != nil {
			return err
		}
		tcp, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(Listen))
		if err != nil {
			return err
		}
		if err := s.Serve("api", udp, tcp); err != nil {
			return err
		}
		for command, want := range map[string]string{
			"getent hosts WEB":                      "fd00:1::2",
			"getent hosts db":                       "10.2.0.5",
			"getent hosts 10.2.0.4":                 "db.back",
			"getent hosts example.org":              "192.0.2.1",
			"busybox nslookup db 127.0.0.11":        "10.2.0.5",
			"busybox nslookup -type=a example.org.": "192.0.2.1",
		} {
			cmd := exec.CommandContext(t.Context(), "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec `+command, path)
			cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%s: %v\n%s", command, err, out)
			}
		}
		return nil
	})
	s.Remove("api")
	if up.queries.Load() == 0 {
		t.Error("the upstream was not asked")
	}
}

// Two clients listen on the same address in two namespaces and see their own networks.
func TestSameAddressInTwoNamespaces(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	s.Set(theTable())
	for client, want := range map[string]netip.Addr{"web": netip.MustParseAddr("10.1.0.3"), "api": netip.MustParseAddr("10.2.0.3")} {
		inNetns(t, func() error {
			udp, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(Listen))
			if err != nil {
				return err
			}
			if err := s.Serve(client, udp, nil); err != nil {
				return err
			}
			out, err := exec.CommandContext(t.Context(), "busybox", "nslookup", "-type=a", "api.", Listen.Addr().String()).CombinedOutput()
			if err != nil || !strings.Contains(string(out), want.String()) {
				t.Errorf("%s: %v\n%s", client, err, out)
			}
			return nil
		})
	}
}
