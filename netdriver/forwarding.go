package netdriver

import (
	"os"
	"path/filepath"
)

// forward4 lets the host forward IPv4. The kernel sets the switches of all interfaces along
// with the host's and turns accept_redirects round (inet_forward_change in net/ipv4/devinet.c),
// so they are remembered too.
func (h *hostState) forward4(l *ledger) error {
	along := []string{"ipv4/conf/all/accept_redirects"}
	err := h.ns.Do(func() error {
		for _, name := range perInterface("ipv4", "forwarding") {
			if v, err := sysctl(name); err == nil && v == "1" {
				along = append(along, name)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return h.set(l, "ipv4/ip_forward", "1", along...)
}

// forward6 lets the host forward IPv6. A router does not listen to router advertisements,
// so interfaces that do are told to go on (accept_ra=2): the host may have its own default
// route from them.
func (h *hostState) forward6(l *ledger) error {
	const all = "ipv6/conf/all/forwarding"
	return h.ns.Do(func() error {
		if v, err := sysctl(all); err != nil || v == "1" {
			return err
		}
		for _, name := range perInterface("ipv6", "accept_ra") {
			if v, err := sysctl(name); err == nil && v == "1" {
				l.Sysctls[name] = v
			}
		}
		l.Sysctls[all] = "0"
		if err := h.write(l); err != nil {
			return err
		}
		for name, value := range l.Sysctls {
			if filepath.Base(name) == "accept_ra" && value == "1" {
				if err := setSysctl(name, "2"); err != nil && !os.IsNotExist(err) {
					return err
				}
			}
		}
		return setSysctl(all, "1")
	})
}

// perInterface returns the names of a setting of every interface, "default" included.
func perInterface(family, setting string) []string {
	dir := filepath.Join("/proc/sys/net", family, "conf")
	entries, _ := os.ReadDir(dir) // none without IPv6 in the kernel
	var names []string
	for _, e := range entries {
		if e.Name() != "all" {
			names = append(names, filepath.Join(family, "conf", e.Name(), setting))
		}
	}
	return names
}
