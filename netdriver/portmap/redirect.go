package portmap

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"

	"tutti/netdriver/netns"
)

// Redirect leads what is sent inside a namespace to address from to address to, over UDP and TCP: as docker does for its
// resolver, so that the port itself stays free for whoever wants it on all addresses. The rules live as long as the
// namespace, and are stronger than those of an earlier call.
func Redirect(ctx context.Context, ns *netns.NS, from netip.AddrPort, udp, tcp netip.AddrPort) error {
	if err := ipv4.detect(); err != nil {
		return fmt.Errorf("redirect %s: %w", from, err)
	}
	var b strings.Builder
	b.WriteString("*nat\n")
	for proto, to := range map[string]netip.AddrPort{"udp": udp, "tcp": tcp} {
		fmt.Fprintf(&b, "-I OUTPUT -d %s/32 -p %s -m %s --dport %d -j DNAT --to-destination %s\n", from.Addr(), proto, proto, from.Port(), to)
	}
	b.WriteString("COMMIT\n")
	cmd := exec.CommandContext(ctx, ipv4.name+"-restore", "--noflush", "-w", lockWait)
	var complaint bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(b.String()), &complaint
	if err := ns.Do(cmd.Run); err != nil {
		return fmt.Errorf("redirect %s: %w: %s", from, err, strings.TrimSpace(complaint.String()))
	}
	return nil
}
