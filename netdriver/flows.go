package netdriver

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// staleFlow selects the connections that the kernel goes on treating as before a port was
// published or taken back: rules decide about the first packet of a flow alone, and a UDP
// flow may be going on.
type staleFlow struct{ bindings []*binding }

// MatchConntrackFlow is asked for every flow of the host.
func (s staleFlow) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	if f.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	untouched := f.Forward.DstIP.Equal(f.Reverse.SrcIP) && f.Forward.SrcIP.Equal(f.Reverse.DstIP)
	for _, b := range s.bindings {
		redirected := f.Reverse.SrcIP.Equal(b.ContainerIP.AsSlice())
		if f.Forward.DstPort == b.HostPort && (untouched || redirected) {
			return true
		}
	}
	return false
}

// forgetFlows makes the kernel decide anew about UDP flows to the given ports.
func (d *Driver) forgetFlows(bindings []*binding) error {
	var udp []*binding
	for _, b := range bindings {
		if b.Proto == "udp" && b.HostIP.Is4() == b.ContainerIP.Is4() {
			udp = append(udp, b)
		}
	}
	if len(udp) == 0 || !d.firewall.Available() {
		return nil
	}
	err := d.cfg.Host.Do(func() error {
		for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
			if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, staleFlow{udp}); err != nil {
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
