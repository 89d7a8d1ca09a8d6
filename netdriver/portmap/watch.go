package portmap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Attributes of NFT_MSG_NEWGEN, which ends every change of nftables (enum nft_gen_attributes).
const (
	genProcPID  = 2
	genProcName = 3
)

// builtins are the chains that jump to ours.
var builtins = []string{"FORWARD", "INPUT", "PREROUTING", "OUTPUT", "POSTROUTING"}

// Watch calls gone whenever somebody else has taken rules or chains away among which ours may be, with who that was, until
// ctx is done. The kernel tells of nftables alone: changes of the legacy iptables go unnoticed.
func (f *Firewall) Watch(ctx context.Context, gone func(who string)) error {
	events, err := f.subscribe()
	if err != nil {
		return fmt.Errorf("watch nftables: %w", err)
	}
	defer events.Close()
	defer context.AfterFunc(ctx, func() { _ = events.Close() })()
	raw, err := events.SyscallConn()
	if err != nil {
		return err
	}
	packet := make([]byte, 64<<10)
	touched := false
	for {
		var n int
		var received error
		err := raw.Read(func(fd uintptr) bool {
			n, _, received = unix.Recvfrom(int(fd), packet, 0) //nolint:gosec // a descriptor
			return !errors.Is(received, unix.EAGAIN)
		})
		switch {
		case err != nil:
			return nil //nolint:nilerr // closed, for ctx is done
		case errors.Is(received, unix.ENOBUFS): // more has happened than the socket could take
			gone("somebody")
			continue
		case errors.Is(received, unix.EINTR):
			continue
		case received != nil:
			return fmt.Errorf("watch nftables: %w", received)
		}
		messages, err := syscall.ParseNetlinkMessage(packet[:n])
		if err != nil {
			continue // of a kernel that says more than is known
		}
		for _, m := range messages {
			if int(m.Header.Type)>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < nl.SizeofNfgenmsg {
				continue
			}
			if m.Header.Type&0xff != unix.NFT_MSG_NEWGEN {
				touched = touched || f.concerns(m)
				continue
			}
			if who, ours := f.author(m.Data); touched && !ours {
				gone(who)
			}
			touched = false
		}
	}
}

// subscribe opens a socket that gets the events of nftables in the host's namespace.
func (f *Firewall) subscribe() (*os.File, error) {
	fd := -1
	err := f.host.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)})
	})
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, err
	}
	return os.NewFile(uintptr(fd), "nftables"), nil //nolint:gosec // a descriptor
}

// concerns tells whether an event takes something away where we have rules.
func (f *Firewall) concerns(m syscall.NetlinkMessage) bool {
	kind := m.Header.Type & 0xff
	if kind != unix.NFT_MSG_DELRULE && kind != unix.NFT_MSG_DELCHAIN && kind != unix.NFT_MSG_DELTABLE {
		return false
	}
	attrs, err := nl.ParseRouteAttr(m.Data[nl.SizeofNfgenmsg:])
	if err != nil {
		return false
	}
	var table, chain string
	for _, a := range attrs {
		text := strings.TrimRight(string(a.Value), "\x00")
		switch a.Attr.Type &^ unix.NLA_F_NESTED {
		case unix.NFTA_RULE_TABLE: // the same number for chains and tables
			table = text
		case unix.NFTA_RULE_CHAIN:
			if kind == unix.NFT_MSG_DELRULE {
				chain = text
			}
		case unix.NFTA_CHAIN_NAME:
			if kind == unix.NFT_MSG_DELCHAIN {
				chain = text
			}
		}
	}
	if familyNames[m.Data[0]] == "" || !slices.Contains(allTables, table) {
		return false
	}
	return kind == unix.NFT_MSG_DELTABLE || slices.Contains(builtins, chain) || strings.HasPrefix(chain, prefix(f.instance))
}

// author reads who has made a change, "iptables (process 1234)", and whether that was a program that we started.
func (f *Firewall) author(gen []byte) (who string, ours bool) {
	attrs, err := nl.ParseRouteAttr(gen[nl.SizeofNfgenmsg:])
	if err != nil {
		return "somebody", false
	}
	var pid uint32
	name := "somebody"
	for _, a := range attrs {
		switch a.Attr.Type {
		case genProcPID:
			if len(a.Value) == 4 {
				pid = binary.BigEndian.Uint32(a.Value)
			}
		case genProcName:
			name = strings.TrimRight(string(a.Value), "\x00")
		}
	}
	return fmt.Sprintf("%s (process %d)", name, pid), f.children.has(int(pid))
}

// children are the last processes that were started to change rules.
type children struct {
	mu   sync.Mutex
	pids [64]int
	next int
}

func (c *children) add(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pids[c.next%len(c.pids)] = pid
	c.next++
}

func (c *children) has(pid int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.pids[:], pid)
}
