package samples

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tutti/netdriver/netns"
)

// Addresses of a test's own machines.
const (
	hostAddress      = "192.0.2.1" // the machine's, on its uplink
	neighbourAddress = "192.0.2.2" // another machine on the same link, and the way to everywhere else
)

// machine is a host of its own for a test: a network and a mount namespace, and on its uplink a neighbour that stands
// for the rest of the world. The two share processes, files and cgroups with the real one.
type machine struct {
	t         testing.TB
	pid       int             // holds the namespaces
	neighbour int             // holds the neighbour's
	copied    map[string]bool // the mounts of others by their ids, see copiedMounts
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	m := &machine{t: t, pid: hold(t), neighbour: hold(t)}
	for _, pid := range []int{m.pid, m.neighbour} {
		m.sh(pid, "ip link set lo up")
	}
	m.copied = m.copiedMounts()
	m.sh(m.pid, fmt.Sprintf("ip link add uplink mtu 1400 type veth peer name peer0 mtu 1400 netns %d", m.neighbour))
	// Addresses are ready at once, so that the machine is the same from now on.
	m.sh(m.pid, "echo 0 > /proc/sys/net/ipv6/conf/uplink/dad_transmits")
	m.sh(m.neighbour, "echo 0 > /proc/sys/net/ipv6/conf/peer0/dad_transmits")
	m.sh(m.pid, "ip addr add "+hostAddress+"/24 dev uplink && ip link set uplink up && ip route add default via "+neighbourAddress)
	m.sh(m.neighbour, "ip addr add "+neighbourAddress+"/24 dev peer0 && ip link set peer0 up")
	return m
}

// copiedMounts are the ids of the mounts that others had made for a while when this machine's table was copied from
// theirs: they go with the folders that they are on, at any time.
func (m *machine) copiedMounts() map[string]bool {
	m.t.Helper()
	ids := map[string]bool{}
	for line := range strings.Lines(m.sh(m.pid, "cat /proc/self/mountinfo")) {
		fields := strings.Fields(line)
		for _, dir := range []string{"/tmp/", "/var/tmp/", "/run/", "/var/run/", "/var/lib/", "/mnt/"} {
			if strings.HasPrefix(fields[4], dir) {
				ids[fields[0]] = true
			}
		}
	}
	return ids
}

// hold starts a process in new network and mount namespaces, which live until the test ends. Names there are
// resolved by the neighbour only, so that nothing is asked of real servers.
func hold(t testing.TB) int {
	t.Helper()
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	script := `echo nameserver ` + neighbourAddress + ` > "$0" && mount --bind "$0" "$(readlink -f /etc/resolv.conf)" && echo ready && exec sleep infinity`
	cmd := exec.Command("unshare", "--net", "--mount", "--", "sh", "-c", script, resolv)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("namespaces for a test: %v %s", err, line)
	}
	return cmd.Process.Pid
}

// command wraps a command so that it runs on the machine, in a folder.
func (m *machine) command(dir string, command []string) []string {
	return append(enter(m.pid), append([]string{"env", "-C", dir}, command...)...)
}

func enter(pid int) []string {
	return []string{"nsenter", "--target", strconv.Itoa(pid), "--net", "--mount", "--"}
}

// sh runs a shell script in the namespaces of a process and returns its output.
func (m *machine) sh(pid int, script string) string {
	m.t.Helper()
	command := append(enter(pid), "sh", "-ec", script)
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// in runs a function on a thread inside the network namespace of a process.
func (m *machine) in(pid int, f func() error) error {
	m.t.Helper()
	ns, err := netns.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		m.t.Fatal(err)
	}
	defer ns.Close()
	return ns.Do(f)
}

// get fetches http://address/ from the machine of a process, which must get an answer, however slow everything is.
func (m *machine) get(pid int, address string) (string, error) {
	m.t.Helper()
	return m.getWithin(patience, pid, address)
}

// getWithin is get for a server that may be out of reach, which shows only by the time that passes.
func (m *machine) getWithin(limit time.Duration, pid int, address string) (string, error) {
	m.t.Helper()
	client := &http.Client{Timeout: limit, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			err = m.in(pid, func() (err error) {
				conn, err = new(net.Dialer).DialContext(ctx, network, addr)
				return err
			})
			return conn, err
		},
	}}
	resp, err := client.Get("http://" + address + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(body)), err
}

// serves waits until http://address/ answers a machine, with want unless that is empty: after its start a container's server
// needs a moment until it listens.
func (m *machine) serves(pid int, address, want string) {
	m.t.Helper()
	eventually(m.t, commandTimeout, func() error {
		got, err := m.get(pid, address)
		if err == nil && want != "" && got != want {
			err = fmt.Errorf("%s answers %q, want %q", address, got, want)
		}
		return err
	})
}

// serve answers HTTP requests on the neighbour with the address that they come from.
func (m *machine) serve(port int) {
	m.t.Helper()
	var listener net.Listener
	err := m.in(m.neighbour, func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(neighbourAddress, strconv.Itoa(port)))
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintln(w, host)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	m.t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
}
