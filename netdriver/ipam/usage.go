package ipam

import (
	"math"
	"net/netip"
)

// Usage returns how many addresses nobody else can have, those that no machine can have included, and how many are left to
// be given out unasked. Numbers beyond 2^64-1 are that.
func (p *Pool) Usage() (used, free uint64) {
	taken := uint64(0) // of those that are given out
	count := func(a netip.Addr) {
		used++
		if p.span.Contains(a) {
			taken++
		}
	}
	for a := range p.used {
		count(a)
	}
	count(p.subnet.Addr())
	if p.subnet.Addr().Is4() {
		count(last(p.subnet))
	}
	switch bits := p.span.Addr().BitLen() - p.span.Bits(); {
	case bits < 64:
		return used, 1<<bits - taken
	case bits == 64 && taken > 0:
		return used, math.MaxUint64 - (taken - 1)
	default:
		return used, math.MaxUint64
	}
}
