package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// sysctl is a setting below /proc/sys/net and its value.
type sysctl struct{ name, value string }

// containerSysctls is what Docker sets in the namespace of every container, and no IPv6 on
// interfaces that come later: without it the kernel gives each a link-local address that
// nobody asked for. The loopback interface is there already and keeps its ::1.
var containerSysctls = []sysctl{
	{"ipv4/ip_unprivileged_port_start", "0"},
	{"ipv4/ping_group_range", "0 2147483647"},
	{"ipv6/conf/default/disable_ipv6", "1"},
}

// ipv6Sysctls let interfaces that come later have IPv6 with exactly the addresses they are
// given: no router advertisements, and no second of duplicate address detection.
var ipv6Sysctls = []sysctl{
	{"ipv6/conf/default/disable_ipv6", "0"},
	{"ipv6/conf/default/accept_ra", "0"},
	{"ipv6/conf/default/accept_dad", "0"},
}

// EnableIPv6 lets interfaces that are created in the namespace from now on have IPv6.
func (ns *NS) EnableIPv6() error {
	return ns.Do(func() error { return write(ipv6Sysctls) })
}

// DisableIPv6 undoes what [NS.EnableIPv6] allows, for interfaces that are created from now on. Those that are there keep
// what they have.
func (ns *NS) DisableIPv6() error {
	return ns.Do(func() error { return write([]sysctl{{"ipv6/conf/default/disable_ipv6", "1"}}) })
}

// write applies settings to the namespace of the calling thread. Settings of a kernel
// without IPv6 are skipped.
func write(settings []sysctl) error {
	for _, s := range settings {
		path := filepath.Join("/proc/sys/net", s.name)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.WriteString(s.value)
		_ = f.Close() // nothing is buffered: the write has told
		if err != nil {
			return fmt.Errorf("set %s to %q: %w", path, s.value, err)
		}
	}
	return nil
}
