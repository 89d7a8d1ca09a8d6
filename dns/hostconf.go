package dns

import (
	"bufio"
	"bytes"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
)

const (
	hostResolvConf    = "/etc/resolv.conf"
	systemdResolvConf = "/run/systemd/resolve/resolv.conf"
	dnsPort           = 53
)

// systemdStub is where systemd-resolved listens (systemd-resolved.service(8)).
var systemdStub = netip.AddrFrom4([4]byte{127, 0, 0, 53})

// HostConfig is what a resolv.conf(5) says.
type HostConfig struct {
	Nameservers []netip.Addr // may carry a zone
	Search      []string     // of the last `search` or `domain` line
	Options     []string     // of all `options` lines, such as "edns0"
}

// ParseResolvConf reads a resolv.conf. Lines that it does not know and invalid
// addresses are left out, as the resolver library does.
func ParseResolvConf(content []byte) HostConfig {
	var c HostConfig
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if addr, err := netip.ParseAddr(fields[1]); err == nil {
				c.Nameservers = append(c.Nameservers, addr)
			}
		case "search", "domain":
			c.Search = fields[1:]
		case "options":
			c.Options = append(c.Options, fields[1:]...)
		}
	}
	return c
}

// HostUpstreams reads the host's resolvers and follows their changes: each call
// compares the file's identity and time of change, which takes a microsecond, and
// reads it again when they differ. It needs no goroutine and is safe for concurrent use.
//
// The stub of systemd-resolved at 127.0.0.53 is used like any other server, for it
// is reached from the host's namespace and knows the routes of VPNs. The servers
// behind it follow in the list, in case it cannot be reached, as when the engine
// itself runs in a container.
type HostUpstreams struct {
	path, behindStub string

	mu        sync.Mutex
	seen      [2]fileStamp
	config    HostConfig
	upstreams []netip.AddrPort
}

// NewHostUpstreams follows /etc/resolv.conf.
func NewHostUpstreams() *HostUpstreams {
	return &HostUpstreams{path: hostResolvConf, behindStub: systemdResolvConf}
}

// Upstreams lists the host's servers, for Config.Upstreams. The result is not to be changed.
func (h *HostUpstreams) Upstreams() []netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refresh()
	return h.upstreams
}

// Config returns what the host's file says now.
func (h *HostUpstreams) Config() HostConfig {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refresh()
	return h.config
}

func (h *HostUpstreams) refresh() {
	now := [2]fileStamp{stampOf(h.path), {}}
	if slices.Contains(h.config.Nameservers, systemdStub) {
		now[1] = stampOf(h.behindStub)
	}
	if h.upstreams != nil && now == h.seen {
		return
	}
	h.seen = now
	h.config = readResolvConf(h.path)
	servers := slices.Clone(h.config.Nameservers)
	if slices.Contains(servers, systemdStub) {
		h.seen[1] = stampOf(h.behindStub)
		servers = append(servers, readResolvConf(h.behindStub).Nameservers...)
	}
	if len(servers) == 0 {
		servers = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})} // resolv.conf(5): the default
	}
	h.upstreams = nil
	for _, addr := range servers {
		if server := netip.AddrPortFrom(addr, dnsPort); !slices.Contains(h.upstreams, server) {
			h.upstreams = append(h.upstreams, server)
		}
	}
}

// readResolvConf takes a file that is not there, or cannot be read, as empty.
func readResolvConf(path string) HostConfig {
	content, err := os.ReadFile(path)
	if err != nil {
		return HostConfig{}
	}
	return ParseResolvConf(content)
}

// fileStamp tells versions of a file apart; zero for none.
type fileStamp struct {
	dev, ino       uint64
	size           int64
	changed, wrote syscall.Timespec
}

func stampOf(path string) fileStamp {
	var st syscall.Stat_t
	if syscall.Stat(path, &st) != nil {
		return fileStamp{}
	}
	return fileStamp{dev: st.Dev, ino: st.Ino, size: st.Size, changed: st.Ctim, wrote: st.Mtim}
}
