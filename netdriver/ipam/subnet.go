// Package ipam chooses subnets for networks and addresses for containers. It is pure: it
// knows nothing of the host but the prefixes it is told are taken.
package ipam

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ErrNoSubnet is returned when every default subnet overlaps something of the host.
var ErrNoSubnet = errors.New("no free subnet")

// Block is a prefix that is cut into subnets of one size. As JSON it is an element of Docker's default-address-pools.
type Block struct {
	Base netip.Prefix `json:"base"`
	Size int          `json:"size"` // bits of a subnet's prefix
}

// Defaults are the default subnets in the order of preference. They are Docker's, without
// 172.17.0.0/16, which docker0 asks for, and with 10.0.0.0/8 so that there are enough for
// thousands of networks. The smallest has 4,093 addresses for containers, four times what
// a Linux bridge can connect.
var Defaults = []Block{
	{netip.MustParsePrefix("172.18.0.0/15"), 16},
	{netip.MustParsePrefix("172.20.0.0/14"), 16},
	{netip.MustParsePrefix("172.24.0.0/13"), 16},
	{netip.MustParsePrefix("192.168.0.0/16"), 20},
	{netip.MustParsePrefix("10.0.0.0/8"), 20},
}

// Check tells why subnets cannot be cut from the block.
func (b Block) Check() error {
	switch {
	case !b.Base.IsValid():
		return errors.New("base is missing")
	case b.Base != b.Base.Masked():
		return fmt.Errorf("base %s has host bits: it is %s", b.Base, b.Base.Masked())
	case b.Size < b.Base.Bits() || b.Size > b.Base.Addr().BitLen()-2:
		return fmt.Errorf("base %s cannot be cut into subnets of size %d", b.Base, b.Size)
	}
	return nil
}

// Subnet returns the first subnet of the IPv4 blocks that overlaps none of the taken prefixes.
func Subnet(blocks []Block, taken []netip.Prefix) (netip.Prefix, error) {
	var four []Block
	for _, b := range blocks {
		if b.Base.Addr().Is4() {
			four = append(four, b)
		}
	}
	return choose(four, taken)
}

// Subnet6 returns a free subnet of the IPv6 blocks. Without any it is a /64 out of the unique local /48 (RFC 4193) that
// belongs to seed, so that one seed always means the same prefix and two hardly ever do.
func Subnet6(blocks []Block, seed string, taken []netip.Prefix) (netip.Prefix, error) {
	var six []Block
	for _, b := range blocks {
		if b.Base.Addr().Is6() {
			six = append(six, b)
		}
	}
	if len(six) == 0 {
		sum := sha256.Sum256([]byte(seed))
		a := [16]byte{0: 0xfd}
		copy(a[1:6], sum[:5])
		six = []Block{{netip.PrefixFrom(netip.AddrFrom16(a), 48), 64}}
	}
	return choose(six, taken)
}

func choose(blocks []Block, taken []netip.Prefix) (netip.Prefix, error) {
	var names []string
	for _, b := range blocks {
		if s, ok := b.free(taken); ok {
			return s, nil
		}
		names = append(names, b.Base.String())
	}
	return netip.Prefix{}, fmt.Errorf("%w: every default one (%s) overlaps a route or an address of this host; "+
		"name a free one in the network's ipam.config.subnet, remove networks that are not needed, or add default-address-pools",
		ErrNoSubnet, strings.Join(names, ", "))
}

// Overlaps returns the first of the taken prefixes that overlaps p.
func Overlaps(p netip.Prefix, taken []netip.Prefix) (netip.Prefix, bool) {
	for _, t := range taken {
		if p.Overlaps(t) {
			return t, true
		}
	}
	return netip.Prefix{}, false
}

// free returns the block's first subnet that overlaps no taken prefix.
func (b Block) free(taken []netip.Prefix) (netip.Prefix, bool) {
	for addr := b.Base.Addr(); b.Base.Contains(addr); {
		s := netip.PrefixFrom(addr, b.Size)
		t, overlaps := Overlaps(s, taken)
		if !overlaps {
			return s, true
		}
		if t.Bits() < s.Bits() { // the larger of the two is left behind at once
			s = t
		}
		addr = last(s).Next()
	}
	return netip.Prefix{}, false
}

// last returns the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := range b {
		host := min(max(8*(i+1)-p.Bits(), 0), 8) // bits of this byte that are not the prefix's
		b[i] |= byte(1<<host - 1)
	}
	addr, _ := netip.AddrFromSlice(b) // has the length it came with
	return addr
}
