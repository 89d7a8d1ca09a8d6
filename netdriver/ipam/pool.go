package ipam

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
)

// Errors of a [Pool].
var (
	ErrExhausted = errors.New("no free address")
	ErrTaken     = errors.New("address is taken")
	ErrOutside   = errors.New("address is not in the subnet")
)

// Config describes the addresses of one subnet.
type Config struct {
	Subnet  netip.Prefix
	Range   netip.Prefix // addresses given out unasked; zero: the whole subnet
	Gateway netip.Addr   // zero: the first address of the subnet, or none
	None    bool         // without a gateway unless one is given
	Aux     []netip.Addr // never given out: other machines have them
}

// Pool gives out the addresses of a subnet one after the other, as Docker does: an address
// that was given back rests until all others had their turn, so that caches of neighbours
// and connection tracking do not lead to the wrong container. Not for concurrent use.
type Pool struct {
	subnet, span netip.Prefix
	gateway      netip.Addr
	used         map[netip.Addr]bool
	last         map[string]netip.Addr // key → the address it had last, nobody else since
	kept         map[netip.Addr]string // the same the other way round
	next         netip.Addr
}

// NewPool returns a pool whose gateway and auxiliary addresses are taken.
func NewPool(c Config) (*Pool, error) {
	p := &Pool{
		subnet: c.Subnet.Masked(), span: c.Range.Masked(), gateway: c.Gateway,
		used: map[netip.Addr]bool{}, last: map[string]netip.Addr{}, kept: map[netip.Addr]string{},
	}
	if !c.Subnet.IsValid() || c.Subnet.Addr().BitLen()-c.Subnet.Bits() < 2 {
		return nil, fmt.Errorf("subnet %s has no room for a gateway and a container", c.Subnet)
	}
	if !c.Range.IsValid() {
		p.span = p.subnet
	}
	if p.span.Bits() < p.subnet.Bits() || !p.subnet.Contains(p.span.Addr()) {
		return nil, fmt.Errorf("ip_range %s is not a part of subnet %s", c.Range, p.subnet)
	}
	if !p.gateway.IsValid() && !c.None {
		p.gateway = p.subnet.Addr().Next()
	}
	if p.gateway.IsValid() {
		if err := p.Take(p.gateway, ""); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
	}
	for _, a := range c.Aux {
		if err := p.Take(a, ""); err != nil {
			return nil, fmt.Errorf("aux_addresses: %w", err)
		}
	}
	p.next = p.span.Addr()
	return p, nil
}

// Subnet returns the pool's subnet.
func (p *Pool) Subnet() netip.Prefix { return p.subnet }

// Gateway returns the gateway's address, zero if there is none.
func (p *Pool) Gateway() netip.Addr { return p.gateway }

// Take takes a wanted address for key, which may be empty: [ErrOutside], [ErrTaken].
func (p *Pool) Take(a netip.Addr, key string) error {
	switch {
	case !p.subnet.Contains(a):
		return fmt.Errorf("%w: %s, %s", ErrOutside, a, p.subnet)
	case p.reserved(a):
		return fmt.Errorf("%w: %s stands for all of subnet %s", ErrTaken, a, p.subnet)
	case p.used[a]:
		return fmt.Errorf("%w: %s", ErrTaken, a)
	}
	p.take(a, key)
	return nil
}

// Next takes a free address: the one that key, unless empty, had last, otherwise the next
// in turn, and one that another key had last only when there are no others.
// [ErrExhausted] says what to do.
func (p *Pool) Next(key string) (netip.Addr, error) {
	a, ok := p.last[key]
	if ok && !p.used[a] {
		return a, p.Take(a, key)
	}
	if a, ok = p.search(func(a netip.Addr) bool { return p.kept[a] == "" }); !ok {
		a, ok = p.search(func(netip.Addr) bool { return true })
	}
	if !ok {
		return a, fmt.Errorf("%w in %s, all %d are in use: remove containers or give the network a larger ipam.config.subnet",
			ErrExhausted, p.span, len(p.used))
	}
	p.take(a, key)
	p.next = a.Next()
	return a, nil
}

// search returns the next free address in turn that suits.
func (p *Pool) search(suits func(netip.Addr) bool) (netip.Addr, bool) {
	for a, wrapped := p.next, false; ; a = a.Next() {
		if !p.span.Contains(a) { // a zero address, after the last of all, is never contained
			if wrapped {
				return a, false
			}
			a, wrapped = p.span.Addr(), true
		} else if wrapped && a == p.next {
			return a, false
		}
		if !p.used[a] && !p.reserved(a) && suits(a) {
			return a, true
		}
	}
}

// Last returns the address that key had last, or has now.
func (p *Pool) Last(key string) (netip.Addr, bool) {
	a, ok := p.last[key]
	return a, ok
}

// Release gives an address back. Releasing twice is no error.
func (p *Pool) Release(a netip.Addr) { delete(p.used, a) }

// Memory returns the address that each key had last, for [Pool.Remember] in another life.
func (p *Pool) Memory() map[string]netip.Addr { return maps.Clone(p.last) }

// Remember takes over what [Pool.Memory] returned. Addresses outside the subnet are ignored.
func (p *Pool) Remember(memory map[string]netip.Addr) {
	for key, a := range memory {
		if p.subnet.Contains(a) && !p.reserved(a) {
			p.keep(a, key)
		}
	}
}

func (p *Pool) take(a netip.Addr, key string) {
	p.used[a] = true
	p.keep(a, key)
}

// keep notes whose address it is, nobody's if the key is empty.
func (p *Pool) keep(a netip.Addr, key string) {
	delete(p.last, p.kept[a])
	delete(p.kept, p.last[key])
	delete(p.kept, a)
	if key != "" {
		p.last[key], p.kept[a] = a, key
	}
}

// reserved tells the addresses that no machine can have: the network's and the broadcast
// address of IPv4 (RFC 922), the routers' anycast address of IPv6 (RFC 4291, 2.6.1).
func (p *Pool) reserved(a netip.Addr) bool {
	return a == p.subnet.Addr() || a.Is4() && a == last(p.subnet)
}
