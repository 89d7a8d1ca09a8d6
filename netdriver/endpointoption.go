package netdriver

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Options of an endpoint, named as Docker names them.
const (
	// OptionSysctls are settings of the interface in the container, comma-separated: net.ipv4.conf.IFNAME.log_martians=1.
	// IFNAME stands for the interface, whatever its name will be.
	OptionSysctls = "com.docker.network.endpoint.sysctls"
	// OptionInterface is the name of the interface in the container.
	OptionInterface = "com.docker.network.endpoint.ifname"
)

// interfaceSysctl is a setting of an interface: below /proc/sys/net it is <dir>/<interface>/<name>.
type interfaceSysctl struct{ dir, name, value string }

// sysctlPattern is what a setting of an interface is called: net.<protocol>.<group>.IFNAME.<name>.
var sysctlPattern = regexp.MustCompile(`^net[./](ipv4|ipv6|mpls)[./](conf|neigh)[./]IFNAME[./]([a-z0-9_]+)$`)

// CheckEndpoint finds what is wrong with a specification as far as it does not depend on its network: [ErrInvalid].
func CheckEndpoint(s EndpointSpec) error {
	if _, err := s.sysctls(); err != nil {
		return err
	}
	for key := range s.Options {
		if key != OptionSysctls && key != OptionInterface {
			return fmt.Errorf("%w: driver option %s of an endpoint is not supported: there are %s and %s", ErrInvalid, key, OptionSysctls, OptionInterface)
		}
	}
	if name := s.interfaceName(); name != "" && (checkInterface(name) != nil || name == "lo") {
		return fmt.Errorf("%w: %q is no name for an interface: use up to %d characters without blanks, slashes and colons", ErrInvalid, name, maxInterface)
	}
	for _, a := range s.LinkLocal {
		if !a.IsLinkLocalUnicast() {
			return fmt.Errorf("%w: %s is no link-local address: they are in 169.254.0.0/16 and fe80::/64", ErrInvalid, a)
		}
	}
	return nil
}

// interfaceName is the name that is asked for, "" for any.
func (s EndpointSpec) interfaceName() string {
	if s.Interface != "" {
		return s.Interface
	}
	return s.Options[OptionInterface]
}

// sysctls reads [OptionSysctls].
func (s EndpointSpec) sysctls() ([]interfaceSysctl, error) {
	var all []interfaceSysctl
	text := s.Options[OptionSysctls]
	if text == "" {
		return nil, nil
	}
	for setting := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(setting), "=")
		m := sysctlPattern.FindStringSubmatch(key)
		if !ok || m == nil || strings.ContainsAny(value, "\n\x00") {
			return nil, fmt.Errorf("%w: %s: %q is no setting of an interface: write net.ipv4.conf.IFNAME.<name>=<value>, or ipv6 or neigh in its place", ErrInvalid, OptionSysctls, setting)
		}
		all = append(all, interfaceSysctl{m[1] + "/" + m[2], m[3], value})
	}
	return all, nil
}

// linkLocal are the addresses of [EndpointSpec.LinkLocal] with the lengths of their networks (RFC 3927, RFC 4291 2.5.6).
func linkLocal(addrs []netip.Addr) []netip.Prefix {
	var all []netip.Prefix
	for _, a := range addrs {
		if a.Is4() {
			all = append(all, netip.PrefixFrom(a, 16))
		} else {
			all = append(all, netip.PrefixFrom(a, 64))
		}
	}
	return all
}

// tune applies the settings that were asked for to the interface of an endpoint.
func (in *inside) tune(e *endpoint) error {
	if len(e.sysctls) == 0 {
		return nil
	}
	return in.ns.Do(func() error {
		for _, s := range e.sysctls {
			if err := setSysctl(s.dir+"/"+e.Interface+"/"+s.name, s.value); err != nil {
				return fmt.Errorf("%w: %s: set %s of %s to %q: %w", ErrInvalid, OptionSysctls, s.name, e.Interface, s.value, err)
			}
		}
		return nil
	})
}

// hasIPv6 tells whether the interface of the endpoint needs IPv6.
func (e *endpoint) hasIPv6() bool {
	return e.IPv6.IsValid() || slices.ContainsFunc(e.LinkLocal, func(p netip.Prefix) bool { return p.Addr().Is6() })
}
