package portmap

import "fmt"

// Mode is how containers of a network meet those outside, for one family: Docker's gateway modes.
type Mode int

// The modes.
const (
	NAT         Mode = iota // outside they have the host's address; only published ports can be reached
	Unprotected             // the same, but who has a route to them reaches every port
	Routed                  // outside they have their own address; published ports are reached at it
	Isolated                // the bridge has no address: not even the host reaches them
)

var modes = map[string]Mode{"": NAT, "nat": NAT, "nat-unprotected": Unprotected, "routed": Routed, "isolated": Isolated}

// ParseMode reads the name of a gateway mode.
func ParseMode(name string) (Mode, error) {
	m, ok := modes[name]
	if !ok {
		return m, fmt.Errorf("%q is none of nat, nat-unprotected, routed, isolated", name)
	}
	return m, nil
}
