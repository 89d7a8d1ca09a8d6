package netdriver

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// step is a request in the namespace of a container, and what it is for.
type step struct {
	request *nl.NetlinkRequest
	what    string
}

// configure gives the container's end of a link its addresses, starts it, and sets the
// default route if it leads there.
func (in *inside) configure(e *endpoint) error {
	index, err := in.socket.Index(e.Interface)
	if err != nil {
		return fmt.Errorf("find %s in the container: %w", e.Interface, err)
	}
	if err := in.tune(e); err != nil {
		return err
	}
	steps := e.steps(index)
	requests := make([]*nl.NetlinkRequest, len(steps))
	for i, s := range steps {
		requests[i] = s.request
	}
	if failed, err := in.socket.Send(requests...); err != nil {
		return fmt.Errorf("%s: %w", steps[failed].what, err)
	}
	return nil
}

// steps are what makes the interface with the index ready for use.
func (e *endpoint) steps(index int) []step {
	var all []step
	for _, p := range append([]netip.Prefix{e.IPv4, e.IPv6}, e.LinkLocal...) {
		if p.IsValid() {
			all = append(all, step{addressRequest(index, p), "set address " + p.String()})
		}
	}
	up := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	link := nl.NewIfInfomsg(unix.AF_UNSPEC)
	link.Index, link.Flags, link.Change = int32(index), unix.IFF_UP, unix.IFF_UP
	up.AddData(link)
	all = append(all, step{up, "start " + e.Interface})
	for _, four := range []bool{true, false} {
		if route := e.defaultRoute(four, index); route != nil {
			all = append(all, step{routeRequest(route, four), "set default route by " + e.Interface})
		}
	}
	return all
}

// addressRequest gives an interface an address, see rtnetlink(7).
func addressRequest(index int, p netip.Prefix) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	msg := nl.NewIfAddrmsg(unix.AF_INET)
	msg.Index, msg.Prefixlen = uint32(index), uint8(p.Bits())
	if p.Addr().Is6() {
		msg.Family, msg.Flags = unix.AF_INET6, unix.IFA_F_NODAD // given out once, by us
	}
	req.AddData(msg)
	addr := p.Addr().AsSlice()
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, addr))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, addr))
	if p.Addr().Is4() && p.Bits() < 31 { // RFC 3021
		req.AddData(nl.NewRtAttr(unix.IFA_BROADCAST, broadcast(p)))
	}
	return req
}

// broadcast is the last address of a subnet of IPv4.
func broadcast(p netip.Prefix) []byte {
	a := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 0x80 >> (i % 8)
	}
	return a[:]
}

// routeRequest sets a default route.
func routeRequest(route *netlink.Route, four bool) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	msg := nl.NewRtMsg()
	msg.Family, msg.Scope = unix.AF_INET6, uint8(route.Scope)
	if four {
		msg.Family = unix.AF_INET
	}
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(route.LinkIndex))))
	if route.Gw != nil {
		req.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, route.Gw))
	}
	return req
}
