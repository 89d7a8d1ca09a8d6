package netdriver

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tutti/netdriver/portmap"
)

// Drivers of networks.
const (
	driverBridge  = "bridge"
	driverMacvlan = "macvlan"
	driverIPvlan  = "ipvlan"
)

// Options of a network, named as Docker names them (libnetwork/netlabel, drivers/bridge/labels.go).
const (
	optionMTU        = "com.docker.network.driver.mtu"
	optionPrefix     = "com.docker.network.container_iface_prefix"
	optionIPv4       = "com.docker.network.enable_ipv4"
	optionIPv6       = "com.docker.network.enable_ipv6"
	optionSource4    = "com.docker.network.host_ipv4"
	optionSource6    = "com.docker.network.host_ipv6"
	optionBridge     = "com.docker.network.bridge.name"
	optionMasquerade = "com.docker.network.bridge.enable_ip_masquerade"
	optionICC        = "com.docker.network.bridge.enable_icc"
	optionInhibit    = "com.docker.network.bridge.inhibit_ipv4"
	optionBinding    = "com.docker.network.bridge.host_binding_ipv4"
	optionMode4      = "com.docker.network.bridge.gateway_mode_ipv4"
	optionMode6      = "com.docker.network.bridge.gateway_mode_ipv6"
	optionTrusted    = "com.docker.network.bridge.trusted_host_interfaces"
	optionParent     = "parent"
	optionMacvlan    = "macvlan_mode"
	optionIPvlan     = "ipvlan_mode"
	optionFlag       = "ipvlan_flag"
)

// options are the options of a network, read. The zero value is not that of no options: see [parseOptions].
type options struct {
	mtu              int // 0: not given
	prefix           string
	noIPv4, six      bool
	source4, source6 netip.Addr

	bridge          string
	masquerade, icc bool
	inhibit4        bool
	binding         netip.Addr
	mode4, mode6    portmap.Mode
	trusted         []string

	parent, mode, flag string // of macvlan and ipvlan
}

// optionKeys says how the value of each option is read, by driver; the empty one is for all.
var optionKeys = map[string]map[string]func(*options, string) error{
	"": {
		optionMTU:    func(o *options, v string) error { return readMTU(&o.mtu, v) },
		optionPrefix: func(o *options, v string) error { return readPrefix(&o.prefix, v) },
		optionIPv4: func(o *options, v string) error {
			err := readBool(&o.noIPv4, v)
			o.noIPv4 = !o.noIPv4
			return err
		},
		optionIPv6: func(o *options, v string) error { return readBool(&o.six, v) },
	},
	driverBridge: {
		optionSource4:    func(o *options, v string) error { return readAddr(&o.source4, v, netip.Addr.Is4, "an IPv4 address") },
		optionSource6:    func(o *options, v string) error { return readAddr(&o.source6, v, netip.Addr.Is6, "an IPv6 address") },
		optionBridge:     func(o *options, v string) error { o.bridge = v; return checkInterface(v) },
		optionMasquerade: func(o *options, v string) error { return readBool(&o.masquerade, v) },
		optionICC:        func(o *options, v string) error { return readBool(&o.icc, v) },
		optionInhibit:    func(o *options, v string) error { return readBool(&o.inhibit4, v) },
		optionBinding:    func(o *options, v string) error { return readAddr(&o.binding, v, netip.Addr.IsValid, "an address") },
		optionMode4:      func(o *options, v string) error { return readMode(&o.mode4, v) },
		optionMode6:      func(o *options, v string) error { return readMode(&o.mode6, v) },
		optionTrusted:    func(o *options, v string) error { return readInterfaces(&o.trusted, v) },
	},
	driverMacvlan: {
		optionParent:  func(o *options, v string) error { return readParent(&o.parent, v) },
		optionMacvlan: func(o *options, v string) error { return oneOf(&o.mode, v, "bridge", "private", "vepa", "passthru") },
	},
	driverIPvlan: {
		optionParent: func(o *options, v string) error { return readParent(&o.parent, v) },
		optionIPvlan: func(o *options, v string) error { return oneOf(&o.mode, v, "l2", "l3", "l3s") },
		optionFlag:   func(o *options, v string) error { return oneOf(&o.flag, v, "bridge", "private", "vepa") },
	},
}

// UnknownOptions returns the options of a network that its driver does not know, sorted. They have no effect, as with
// Docker, which does not say so.
func UnknownOptions(driver string, given map[string]string) []string {
	var unknown []string
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if optionKeys[""][key] == nil && optionKeys[driver][key] == nil {
			unknown = append(unknown, key)
		}
	}
	return unknown
}

// SpecError says what of a network's specification cannot be. It wraps [ErrInvalid].
type SpecError struct {
	Path []string // as compose names it: "ipam", "config", "0"
	What string   // is wrong
}

func (e *SpecError) Error() string { return strings.Join(e.Path, ".") + ": " + e.What }

// Unwrap makes it an [ErrInvalid].
func (e *SpecError) Unwrap() error { return ErrInvalid }

// badOption is the error of a driver option.
func badOption(key, what string) error { return &SpecError{[]string{"driver_opts", key}, what} }

// badPool is the error of a pool.
func badPool(index int, what string) error {
	return &SpecError{[]string{"ipam", "config", strconv.Itoa(index)}, what}
}

// parseOptions reads the options that the driver knows. What is wrong is a [SpecError].
func parseOptions(s *NetworkSpec) (options, error) {
	o := options{masquerade: true, icc: true}
	for _, key := range slices.Sorted(maps.Keys(s.Options)) {
		read := optionKeys[s.Driver][key]
		if read == nil {
			read = optionKeys[""][key]
		}
		if read == nil {
			continue
		}
		if err := read(&o, s.Options[key]); err != nil {
			return o, badOption(key, err.Error())
		}
	}
	for key, mode := range map[string]portmap.Mode{optionMode4: o.mode4, optionMode6: o.mode6} {
		if mode == portmap.Isolated && !s.Internal {
			return o, badOption(key, "the gateway mode isolated needs a network that is internal")
		}
	}
	if s.Driver == driverMacvlan && o.mode == "" {
		o.mode = "bridge"
	}
	if s.Driver == driverIPvlan && o.mode == "" {
		o.mode = "l2"
	}
	return o, nil
}

func readBool(to *bool, value string) (err error) {
	if *to, err = strconv.ParseBool(value); err != nil {
		return fmt.Errorf("%q is neither true nor false", value)
	}
	return nil
}

func readMTU(to *int, value string) (err error) {
	if *to, err = strconv.Atoi(value); err != nil {
		return fmt.Errorf("%q is no number", value)
	}
	return nil // its size is checked with that of the specification
}

func readAddr(to *netip.Addr, value string, suits func(netip.Addr) bool, what string) (err error) {
	if *to, err = netip.ParseAddr(value); err != nil || !suits(*to) {
		return fmt.Errorf("%q is not %s", value, what)
	}
	return nil
}

func readMode(to *portmap.Mode, value string) (err error) {
	if *to, err = portmap.ParseMode(value); err != nil {
		return err
	}
	return nil
}

func oneOf(to *string, value string, known ...string) error {
	if value != "" && !slices.Contains(known, value) {
		return fmt.Errorf("%q is none of %s", value, strings.Join(known, ", "))
	}
	*to = value
	return nil
}

func readParent(to *string, value string) error {
	*to = value
	switch value {
	case "":
		return nil
	case "lo":
		return errors.New("the loopback interface cannot be a parent")
	}
	return checkInterface(value)
}

func readInterfaces(to *[]string, value string) error {
	for name := range strings.SplitSeq(value, ":") {
		if err := checkInterface(name); err != nil {
			return err
		}
		*to = append(*to, name)
	}
	return nil
}

// maxInterface is IFNAMSIZ of linux/if.h without the final zero.
const maxInterface = 15

var interfacePattern = regexp.MustCompile(`^[^\s/:%*+!]+$`) // dev_valid_name in the kernel; iptables has a meaning for + and !

// checkInterface tells why a name cannot be one of an interface.
func checkInterface(name string) error {
	switch {
	case len(name) > maxInterface:
		return fmt.Errorf("%q is too long for an interface, which has at most %d characters", name, maxInterface)
	case !interfacePattern.MatchString(name) || name == "." || name == ".." || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%q is no name of an interface", name)
	}
	return nil
}

// readPrefix reads what the names of interfaces in containers begin with; a number follows.
func readPrefix(to *string, value string) error {
	*to = value
	if value == "" || value == "lo" {
		return fmt.Errorf("%q cannot be the beginning of the names of interfaces", value)
	}
	return checkInterface(value + "999")
}
