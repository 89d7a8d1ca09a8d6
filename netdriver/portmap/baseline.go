package portmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Baseline is which tables and builtin chains of iptables a host had, as "ip filter" and
// "ip filter FORWARD". Nil means that nobody has looked.
//
// iptables-nft makes them when they are first needed and leaves them behind; the legacy
// backend keeps them in the kernel, where they cannot be removed.
type Baseline []string

// acceptPolicy is NF_ACCEPT, which a builtin chain has unless somebody wanted otherwise.
const acceptPolicy = 1

// nftChain is a chain of nftables.
type nftChain struct {
	family      uint8
	table, name string
	builtin     bool
	policy      uint32
}

var familyNames = map[uint8]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6"}

func (c nftChain) tableID() string { return familyNames[c.family] + " " + c.table }
func (c nftChain) id() string      { return c.tableID() + " " + c.name }

// Survey returns what is there now of the tables that tutti uses, before the first engine of
// the host has put anything in.
func (f *Firewall) Survey() (Baseline, error) {
	b := Baseline{}
	for _, t := range f.families {
		t.clean = true
	}
	err := f.host.Do(func() error {
		tables, chains, err := list()
		for _, t := range tables {
			b = append(b, t.tableID())
		}
		for _, c := range chains {
			if c.builtin {
				b = append(b, c.id())
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look at the tables of nftables: %w", err)
	}
	slices.Sort(b)
	return b, nil
}

// Leave removes the tables and builtin chains that were not there when found was surveyed.
// What others have put something into stays.
func (f *Firewall) Leave(found Baseline) error {
	if found == nil {
		return nil
	}
	err := f.host.Do(func() error {
		tables, chains, err := list()
		if err != nil {
			return err
		}
		for _, c := range chains {
			if c.builtin && c.policy == acceptPolicy && !slices.Contains(found, c.id()) {
				if err := remove(c, unix.NFT_MSG_DELCHAIN); err != nil {
					return err
				}
			}
		}
		for _, t := range tables {
			if !slices.Contains(found, t.tableID()) {
				if err := remove(t, unix.NFT_MSG_DELTABLE); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove empty tables of nftables: %w", err)
	}
	return nil
}

// list returns the tables (as chains without a name) and the chains of iptables in the
// namespace of the calling thread.
func list() (tables, chains []nftChain, err error) {
	for _, kind := range []int{unix.NFT_MSG_GETTABLE, unix.NFT_MSG_GETCHAIN} {
		req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|kind, unix.NLM_F_DUMP)
		req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.NFPROTO_UNSPEC, Version: unix.NFNETLINK_V0})
		messages, err := req.Execute(unix.NETLINK_NETFILTER, 0)
		if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
			return nil, nil, nil // a kernel without nftables: iptables is the legacy one
		}
		if err != nil {
			return nil, nil, err
		}
		for _, m := range messages {
			c, err := decode(m)
			if err != nil {
				return nil, nil, err
			}
			if familyNames[c.family] == "" || c.table != "filter" && c.table != "nat" {
				continue
			}
			if kind == unix.NFT_MSG_GETTABLE {
				tables = append(tables, c)
			} else {
				chains = append(chains, c)
			}
		}
	}
	return tables, chains, nil
}

// decode reads a table or a chain: the table's name has the same attribute number in both.
func decode(message []byte) (nftChain, error) {
	if len(message) < nl.SizeofNfgenmsg {
		return nftChain{}, errors.New("short message")
	}
	c := nftChain{family: message[0]}
	attrs, err := nl.ParseRouteAttr(message[nl.SizeofNfgenmsg:])
	if err != nil {
		return c, err
	}
	for _, a := range attrs {
		switch a.Attr.Type &^ unix.NLA_F_NESTED {
		case unix.NFTA_CHAIN_TABLE: // and NFTA_TABLE_NAME
			c.table = strings.TrimRight(string(a.Value), "\x00")
		case unix.NFTA_CHAIN_NAME:
			c.name = strings.TrimRight(string(a.Value), "\x00")
		case unix.NFTA_CHAIN_HOOK:
			c.builtin = true
		case unix.NFTA_CHAIN_POLICY:
			if len(a.Value) == 4 {
				c.policy = binary.BigEndian.Uint32(a.Value)
			}
		}
	}
	return c, nil
}

// remove deletes an empty table or chain. NLM_F_NONREC makes the kernel refuse one that is
// not empty (EBUSY), which is no error, so that nothing of others can be lost.
func remove(c nftChain, kind int) error {
	s, err := nl.Subscribe(unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer s.Close()
	subsystem := binary.NativeEndian.Uint16([]byte{0, unix.NFNL_SUBSYS_NFTABLES}) // in network order
	// A change has to be a batch: begin, the change, end.
	var batch []byte
	for _, m := range []struct{ kind, flags int }{
		{unix.NFNL_MSG_BATCH_BEGIN, 0},
		{unix.NFNL_SUBSYS_NFTABLES<<8 | kind, unix.NLM_F_ACK | unix.NLM_F_NONREC},
		{unix.NFNL_MSG_BATCH_END, 0},
	} {
		req := nl.NewNetlinkRequest(m.kind, m.flags)
		msg := &nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: unix.NFNETLINK_V0, ResId: subsystem}
		if m.flags != 0 {
			msg.NfgenFamily, msg.ResId = c.family, 0
			req.AddData(msg)
			req.AddData(nl.NewRtAttr(unix.NFTA_CHAIN_TABLE, nl.ZeroTerminated(c.table)))
			if c.name != "" {
				req.AddData(nl.NewRtAttr(unix.NFTA_CHAIN_NAME, nl.ZeroTerminated(c.name)))
			}
		} else {
			req.AddData(msg)
		}
		batch = append(batch, req.Serialize()...)
	}
	if err := unix.Sendto(s.GetFd(), batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	messages, _, err := s.Receive()
	if err != nil {
		return err
	}
	for _, m := range messages {
		if m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 {
			continue
		}
		if errno := unix.Errno(-int32(nl.NativeEndian().Uint32(m.Data))); errno != 0 && errno != unix.EBUSY && errno != unix.ENOENT {
			return fmt.Errorf("%s: %w", strings.TrimSpace(c.id()), errno)
		}
	}
	return nil
}
