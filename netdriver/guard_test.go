package netdriver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// An administrator, or the tool of one, empties the firewall: the rules come back by themselves, and who it was is known.
// What others have there stays away.
func TestRulesComeBack(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	box := l.box(d, "box", l.network(d, "net", nil))
	l.serve(box.ns, "box", 80)
	_, err := d.Publish(t.Context(), "box", []PortSpec{{HostPort: 80, ContainerPort: 80}})
	l.must(err)
	rules := func() string { return l.run("iptables-save -t nat | sort; iptables-save -t filter | sort") }
	before := rules()
	for i, command := range []string{"iptables -F", "iptables -t nat -F", "nft flush ruleset", "iptables -D FORWARD 1"} {
		l.run(command)
		l.eventually(command, func() error {
			d.guard.mu.Lock()
			known := len(d.guard.incidents)
			d.guard.mu.Unlock()
			if after := rules(); after != before || known < i+1 {
				return fmt.Errorf("%d incidents, rules:\n%s\nbefore:\n%s", known, after, before)
			}
			return nil
		})
		l.reaches("after "+command, l.outside, "tcp", hostIP+":80", "box", outsideIP)
	}
	incidents, err := d.CheckFirewall(t.Context())
	l.must(err)
	for i, who := range []string{"iptables (process ", "iptables (process ", "nft (process ", "iptables (process "} {
		if got := incidents[i].String(); !strings.Contains(got, who) {
			t.Errorf("incident %d: %s, want %s", i, got, who)
		}
	}
	l.must(d.Detach(t.Context(), "box"))
	l.must(d.Flush(t.Context()))
	if again, err := d.CheckFirewall(t.Context()); err != nil || len(again) != len(incidents) {
		t.Errorf("our own changes are taken for those of others: %v, %v", again, err)
	}
}

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
    <allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
  </policy>
</busconfig>`

// firewalld starts a D-Bus and firewalld in the host's namespace, until the test ends.
func (l *lab) firewalld() (bus string) {
	l.t.Helper()
	dir, err := os.MkdirTemp("", "bus") // sun_path ends after 107 bytes
	l.must(err)
	l.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l.must(errors.Join(os.WriteFile(dir+"/bus.conf", fmt.Appendf(nil, busConfig, dir+"/bus"), 0o600), os.Mkdir(dir+"/conf", 0o700)))
	bus = "unix:path=" + dir + "/bus"
	// A zone for the uplink as on a host: what is not allowed is refused.
	l.must(os.WriteFile(dir+"/conf/firewalld.conf", []byte("DefaultZone=public\nFirewallBackend=nftables\n"), 0o600))
	for _, command := range []string{
		"exec dbus-daemon --config-file=" + dir + "/bus.conf --nofork --nopidfile",
		"while ! [ -S " + dir + "/bus ]; do sleep 0.01; done; exec firewalld --nofork --nopid --system-config=" + dir + "/conf --log-file=" + dir + "/log",
	} {
		cmd := exec.Command("sh", "-c", command)
		cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+bus)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		l.must(l.host.Do(cmd.Start))
		l.t.Cleanup(func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
		})
	}
	return bus
}

// firewalld's chains come after those of iptables and refuse what is in no zone. With it there, before and after it was
// reloaded, and when it comes later, the traffic is as without; and when the network is gone its zone is empty.
func TestFirewalld(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	bus := l.firewalld()
	ready := func() error {
		out := l.run("nft list ruleset")
		if !strings.Contains(out, "filter_FWD_public") || !strings.Contains(out, "reject with icmpx") {
			return errors.New("firewalld has no rules yet")
		}
		return nil
	}
	l.config.SystemBus = bus
	d := l.driver()
	net := l.network(d, "net", nil) // before firewalld is there, or just then
	other := l.network(d, "other", nil)
	l.eventually("firewalld comes", ready)
	box, far := l.box(d, "box", net), l.box(d, "far", other)
	l.serve(box.ns, "box", 80)
	l.serve(l.outside, "outside", 80)
	_, err := d.Publish(t.Context(), "box", []PortSpec{{HostPort: 80, ContainerPort: 80}, {HostPort: 81, ContainerPort: 80, Input: true}})
	l.must(err)
	trusts := func() error {
		out := l.run("nft list table inet firewalld")
		if !strings.Contains(out, net.Bridge) || !strings.Contains(out, other.Bridge) {
			return errors.New("the bridges are in no zone")
		}
		return nil
	}
	client := func(args string) string {
		return l.run("DBUS_SYSTEM_BUS_ADDRESS=" + bus + " timeout 60 firewall-cmd " + args)
	}
	for _, when := range []string{"at first", "after a reload"} {
		l.eventually("the bridges are trusted "+when, trusts)
		l.reaches("port "+when, l.outside, "tcp", hostIP+":80", "box", outsideIP)
		l.reaches("outside "+when, box.ns, "tcp", outsideIP+":80", "outside", hostIP)
		l.reaches("port from another network "+when, far.ns, "tcp", hostIP+":80", "box", "")
		l.blocked("another network "+when, far.ns, "tcp", box.ip(0)+":80")
		l.blocked("a port that obeys "+when, l.outside, "tcp", hostIP+":81")
		if when == "at first" {
			client("--reload")
		}
	}
	client("--add-port=81/tcp")
	l.reaches("a port that obeys, allowed", l.outside, "tcp", hostIP+":81", "box", "")
	l.must(errors.Join(d.Detach(t.Context(), "box"), d.Detach(t.Context(), "far")))
	l.must(errors.Join(d.RemoveNetwork(t.Context(), net.ID), d.RemoveNetwork(t.Context(), other.ID)))
	l.must(d.Flush(t.Context()))
	if out := l.run("nft list table inet firewalld"); strings.Contains(out, net.Bridge) || strings.Contains(out, other.Bridge) {
		t.Errorf("firewalld still knows the bridges:\n%s", out)
	}
}
