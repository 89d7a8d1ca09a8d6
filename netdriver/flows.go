package netdriver

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The rules decide about the first packet of a flow alone, and a UDP flow has no end that
// the kernel sees. So it has to forget those that it would go on treating as before.

// staleFlow tells whether the kernel has to forget a UDP flow to or from the binding's port.
type staleFlow func(b *binding, f *netlink.ConntrackFlow) bool

// toAnother selects, for a port that is published now, flows that began before: to the
// proxy, or to the container that had the port. What goes out through masquerading to a port
// of the same number elsewhere is none of ours.
func toAnother(b *binding, f *netlink.ConntrackFlow) bool {
	redirected := !f.Forward.DstIP.Equal(f.Reverse.SrcIP)
	masqueraded := !f.Forward.SrcIP.Equal(f.Reverse.DstIP)
	return f.Forward.DstPort == b.HostPort && !f.Reverse.SrcIP.Equal(b.ContainerIP.AsSlice()) && (redirected || !masqueraded)
}

// toContainer selects, for a port that is no longer published, flows into its container.
func toContainer(b *binding, f *netlink.ConntrackFlow) bool {
	return f.Forward.DstPort == b.HostPort && f.Reverse.SrcIP.Equal(b.ContainerIP.AsSlice())
}

// flowFilter is asked for every flow that the kernel tracks.
type flowFilter struct {
	bindings []*binding
	stale    staleFlow
}

// MatchConntrackFlow implements [netlink.CustomConntrackFilter].
func (s flowFilter) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	if f.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	for _, b := range s.bindings {
		if s.stale(b, f) {
			return true
		}
	}
	return false
}

// forgetFlows makes the kernel decide anew about stale UDP flows of the given ports.
func (d *Driver) forgetFlows(bindings []*binding, stale staleFlow) error {
	var udp []*binding
	for _, b := range bindings {
		if b.Proto == "udp" && b.HostIP.Is4() == b.ContainerIP.Is4() {
			udp = append(udp, b)
		}
	}
	if len(udp) == 0 || !d.firewall.Translates() {
		return nil
	}
	err := d.cfg.Host.Do(func() error {
		for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
			if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, flowFilter{udp, stale}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget UDP flows: %w", err)
	}
	return nil
}
