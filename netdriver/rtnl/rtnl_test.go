package rtnl

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
)

func open(t *testing.T) (*netns.NS, *Socket) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns.Close)
	s, err := Open(ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return ns, s
}

// pair is the request for a pair of links.
func pair(name, peer string) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	other := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(other, unix.AF_UNSPEC)
	other.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(peer))
	req.AddData(info)
	return req
}

// The error is that of the first request that is refused; the others are obeyed, and the socket is good for more.
func TestSend(t *testing.T) {
	t.Parallel()
	_, s := open(t)
	if failed, err := s.Send(pair("a", "b"), pair("c", "d")); err != nil {
		t.Fatal(failed, err)
	}
	for name, c := range map[string]struct {
		requests []*nl.NetlinkRequest
		failed   int
		err      error
	}{
		"the first":          {[]*nl.NetlinkRequest{pair("a", "n1"), pair("m1", "n2")}, 0, unix.EEXIST},
		"one in the middle":  {[]*nl.NetlinkRequest{pair("m2", "n3"), pair("c", "n4"), pair("m3", "n5")}, 1, unix.EEXIST},
		"the last":           {[]*nl.NetlinkRequest{pair("m4", "n6"), pair("a", "n7")}, 1, unix.EEXIST},
		"several":            {[]*nl.NetlinkRequest{pair("m5", "n8"), pair("a", "n9"), pair("c", "n10"), pair("m6", "n11")}, 1, unix.EEXIST},
		"a name that is bad": {[]*nl.NetlinkRequest{pair(strings.Repeat("x", 20), "n12")}, 0, unix.ERANGE},
	} {
		if failed, err := s.Send(c.requests...); failed != c.failed || !errors.Is(err, c.err) {
			t.Errorf("%s: request %d: %v; want %d, %v", name, failed, err, c.failed, c.err)
		}
	}
	for _, name := range []string{"m1", "m2", "m3", "m4", "m5", "m6"} {
		if _, err := s.Index(name); err != nil {
			t.Errorf("%s, behind or before one that was refused: %v", name, err)
		}
	}
	if _, err := s.Index("n1"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("n1 was not to be made: %v", err)
	}
}

// A container can write to sockets in its namespace: what is not the kernel's is no answer.
func TestForgedAnswer(t *testing.T) {
	t.Parallel()
	ns, s := open(t)
	if _, err := s.Index("lo"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(pair("a", "b")); err != nil { // now the socket has an address
		t.Fatal(err)
	}
	name, err := unix.Getsockname(s.fd)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ns.Netlink()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	forged := nl.NewNetlinkRequest(unix.NLMSG_ERROR, 0)
	forged.Seq, forged.RawData = s.seq+1, []byte{0xff, 0xff, 0xff, 0xff}
	to := &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: name.(*unix.SockaddrNetlink).Pid}
	if err := unix.Sendto(other, forged.Serialize(), 0, to); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(pair("c", "d")); err != nil {
		t.Errorf("the answer of somebody else counts: %v", err)
	}
	if _, err := s.Index("c"); err != nil {
		t.Error(err)
	}
}

// Both ways to learn of the carrier say the same, and so does package netlink.
func TestIsUp(t *testing.T) {
	t.Parallel()
	ns, s := open(t)
	if _, err := s.Send(pair("a", "b")); err != nil {
		t.Fatal(err)
	}
	ways := map[string]func(string) (bool, error){"IsUp": s.IsUp, "operState": s.operState}
	for what, is := range ways {
		if up, err := is("a"); up || err != nil {
			t.Errorf("%s of a link that is down: %v, %v", what, up, err)
		}
		if _, err := is("missing"); !errors.Is(err, unix.ENODEV) {
			t.Errorf("%s of no link: %v", what, err)
		}
	}
	for _, name := range []string{"a", "b", "b"} {
		if err := s.SetUp(name); err != nil {
			t.Fatal(err)
		}
	}
	for what, is := range ways {
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
			up, err := is("a")
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("%s: %v, %v", what, up, err)
			}
			if up {
				break
			}
		}
	}
	err := ns.Do(func() error {
		link, err := netlink.LinkByName("a")
		if err == nil && link.Attrs().OperState != netlink.OperUp {
			t.Errorf("netlink says %s", link.Attrs().OperState)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
