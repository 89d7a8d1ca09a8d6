package netns

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newNS(t testing.TB) *NS {
	t.Helper()
	ns, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns.Close)
	return ns
}

// inode identifies the namespace of the calling thread.
func inode(t testing.TB, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestDoRunsInsideAndStepsBack(t *testing.T) {
	t.Parallel()
	ns := newNS(t)
	home := inode(t, "/proc/self/ns/net")
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			err := ns.Do(func() error {
				if got, want := inode(t, "/proc/thread-self/ns/net"), inode(t, ns.Path()); got != want {
					t.Errorf("Do runs in namespace %d, want %d", got, want)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("threads: %v %v", tasks, err)
	}
	if got := inode(t, "/proc/self/ns/net"); got != home {
		t.Errorf("the process's namespace is %d, was %d", got, home)
	}
}

func TestDoReturnsTheError(t *testing.T) {
	t.Parallel()
	want := errors.New("x")
	if err := newNS(t).Do(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	var own *NS
	if err := own.Do(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("own namespace: got %v", err)
	}
}

func TestNewSetsWhatDockerSets(t *testing.T) {
	t.Parallel()
	err := newNS(t).Do(func() error {
		for _, s := range containerSysctls {
			b, err := os.ReadFile(filepath.Join("/proc/sys/net", s.name))
			if err != nil {
				return err
			}
			if got := strings.Join(strings.Fields(string(b)), " "); got != s.value {
				t.Errorf("%s is %q, want %q", s.name, got, s.value)
			}
		}
		links, err := os.ReadDir("/proc/sys/net/ipv4/conf")
		if len(links) < 3 { // all, default, lo
			t.Errorf("links: %v", links)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	ns := newNS(t)
	again, err := Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if inode(t, ns.Path()) != inode(t, again.Path()) {
		t.Error("another namespace was opened")
	}
	for _, bad := range []string{"/proc/self/ns/mnt", "/dev/null", "/nonexistent"} {
		if _, err := Open(bad); err == nil {
			t.Errorf("%s was opened", bad)
		}
	}
}

// A namespace is gone when nobody holds it: the creating thread must not, from the moment that it is handed out. Not beside
// other tests, whose namespaces may get the number of one that is gone.
func TestClosedNamespaceIsGone(t *testing.T) { //nolint:paralleltest // see above
	for range 100 {
		ns, err := NewBare()
		if err != nil {
			t.Fatal(err)
		}
		ino := inode(t, ns.Path())
		ns.Close()
		ns.Close()
		held, err := filepath.Glob("/proc/self/task/*/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range held {
			var st unix.Stat_t
			if unix.Stat(path, &st) == nil && st.Ino == ino {
				t.Fatalf("%s keeps the namespace", path)
			}
		}
	}
}

func TestSocketsLiveInside(t *testing.T) {
	t.Parallel()
	ns := newNS(t)
	up(t, ns)
	listener, err := ns.ListenTCP(netip.MustParseAddrPort("127.0.0.1:80"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if c, err := listener.Accept(); err == nil {
			_, _ = io.WriteString(c, "hello")
			_ = c.Close()
		}
	}()
	ctx := t.Context()
	conn, err := ns.Dial(ctx, "tcp", netip.MustParseAddrPort("127.0.0.1:80"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	if b, err := io.ReadAll(conn); err != nil || string(b) != "hello" {
		t.Errorf("got %q, %v", b, err)
	}
	// Not all addresses of 127/8 but this one: a resolver's.
	udp, err := ns.ListenUDP(netip.MustParseAddrPort("127.0.0.11:53"))
	if err != nil {
		t.Fatal(err)
	}
	_ = udp.Close()
}

// up sets lo up with the ioctl of netdevice(7): this package does not know netlink.
func up(t *testing.T, ns *NS) {
	t.Helper()
	err := ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		req, err := unix.NewIfreq("lo")
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_UP)
		return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		ns, err := New()
		if err != nil {
			b.Fatal(err)
		}
		ns.Close()
	}
}

func BenchmarkDo(b *testing.B) {
	ns := newNS(b)
	for b.Loop() {
		if err := ns.Do(func() error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// The socket that a new namespace has already, and those that are opened for it, are inside; one that nobody took goes with it.
func TestNetlinkIsInside(t *testing.T) {
	t.Parallel()
	ns := newNS(t)
	want, err := ns.Inode()
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"the first", "the second"} {
		fd, err := ns.Netlink()
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		of, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(of)
		var st unix.Stat_t
		if err := unix.Fstat(of, &st); err != nil || st.Ino != want {
			t.Errorf("%s socket is in namespace %d, not %d: %v", what, st.Ino, want, err)
		}
	}
	closed, err := New()
	if err != nil {
		t.Fatal(err)
	}
	spare := int(closed.spare.Load()) - 1
	closed.Close()
	closed.Close()
	if closed.spare.Load() != 0 || spare < 0 {
		t.Errorf("the socket %d of a closed namespace is %d", spare, closed.spare.Load()-1)
	}
}
