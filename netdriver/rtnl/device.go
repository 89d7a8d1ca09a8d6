package rtnl

import (
	"fmt"
	"os"
	"sync"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// skipStats is RTEXT_FILTER_SKIP_STATS of linux/rtnetlink.h.
const skipStats = 1 << 3

// Index returns the index of a link.
func (s *Socket) Index(name string) (int, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	err = unix.IoctlIfreq(s.fd, unix.SIOCGIFINDEX, req)
	return int(req.Uint32()), err
}

// flags returns a link's flags, those that have room in 16 bits.
func (s *Socket) flags(name string) (uint16, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	err = unix.IoctlIfreq(s.fd, unix.SIOCGIFFLAGS, req)
	return req.Uint16(), err
}

// SetUp starts a link.
func (s *Socket) SetUp(name string) error {
	has, err := s.flags(name)
	if err != nil || has&unix.IFF_UP != 0 {
		return err
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(has | unix.IFF_UP)
	return unix.IoctlIfreq(s.fd, unix.SIOCSIFFLAGS, req)
}

// IsUp tells whether the operational state of a link (RFC 2863) is up. The kernel works that out in its own time, and tells
// the bridge of the link and the link's queue then. From 6.8 on it does so at once for who asks for the carrier
// (linkwatch_sync_dev), so that one question is enough; ethtool's is the cheapest.
func (s *Socket) IsUp(name string) (bool, error) {
	if !syncsCarrier() {
		return s.operState(name)
	}
	if err := s.askCarrier(name); err != nil {
		return false, err
	}
	has, err := s.flags(name)
	return has&unix.IFF_RUNNING != 0, err
}

// syncsCarrier tells whether the kernel has worked out the operational state when it has told ethtool the carrier. With
// others IFF_RUNNING can also mean that it has not begun.
var syncsCarrier = sync.OnceValue(func() bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return false
	}
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 6 || major == 6 && minor >= 8)
})

// ethtoolRequest is struct ifreq of netdevice(7) as SIOCETHTOOL takes it, ethtoolValue what that points at (struct
// ethtool_value of linux/ethtool.h).
type ethtoolRequest struct {
	name  [unix.IFNAMSIZ]byte
	value *ethtoolValue
	_     [16]byte
}

type ethtoolValue struct{ command, _ uint32 }

// askCarrier asks ethtool for the carrier of a link. The answer does not matter.
func (s *Socket) askCarrier(name string) error {
	req := ethtoolRequest{value: &ethtoolValue{command: unix.ETHTOOL_GLINK}}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return os.NewSyscallError("ioctl SIOCETHTOOL", errno)
	}
	return nil
}

// operState asks rtnetlink for the operational state of a link.
func (s *Socket) operState(name string) (bool, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)))
	s.mu.Lock()
	defer s.mu.Unlock()
	link, err := s.ask(req)
	if err != nil {
		return false, err
	}
	if len(link) < unix.SizeofIfInfomsg {
		return false, fmt.Errorf("rtnetlink tells %d bytes about link %s", len(link), name)
	}
	attrs, err := nl.ParseRouteAttr(link[unix.SizeofIfInfomsg:])
	if err != nil {
		return false, err
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.IFLA_OPERSTATE && len(a.Value) == 1 {
			return netlink.LinkOperState(a.Value[0]) == netlink.OperUp, nil
		}
	}
	return false, nil
}
