package netdriver

import (
	"errors"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
)

// maxPorts is what a Linux bridge connects: BR_MAX_PORTS is 1024, and the kernel does not
// use port 0.
const maxPorts = 1023

// addVeth makes a veth pair: one end up and in the bridge, the other in the container's
// namespace with its name and hardware address.
//
// One message does it all; with package netlink it takes four. See rtnetlink(7), and
// rtnl_newlink in the kernel's net/core/rtnetlink.c for the order in which it is obeyed.
func (d *Driver) addVeth(e *endpoint, bridge int, ns *netns.NS) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	host := nl.NewIfInfomsg(unix.AF_UNSPEC)
	host.Flags, host.Change = unix.IFF_UP, unix.IFF_UP
	req.AddData(host)
	mtu, one := nl.Uint32Attr(uint32(e.network.MTU)), nl.Uint32Attr(1)
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(e.HostInterface)))
	req.AddData(nl.NewRtAttr(unix.IFLA_MTU, mtu))
	req.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(bridge))))
	req.AddData(nl.NewRtAttr(unix.IFLA_NUM_TX_QUEUES, one))
	req.AddData(nl.NewRtAttr(unix.IFLA_NUM_RX_QUEUES, one))

	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(e.Interface))
	peer.AddRtAttr(unix.IFLA_MTU, mtu)
	peer.AddRtAttr(unix.IFLA_ADDRESS, e.MAC)
	peer.AddRtAttr(unix.IFLA_NUM_TX_QUEUES, one)
	peer.AddRtAttr(unix.IFLA_NUM_RX_QUEUES, one)
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(ns.FD())))
	req.AddData(info)
	_, err := d.socket.Send(req)
	if errors.Is(err, unix.EXFULL) {
		err = e.network.full() // with links of others on it, or it would have been refused before
	}
	return err
}
