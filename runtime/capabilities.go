package runtime

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime/wire"
)

// capNames are all capabilities in the order of their numbers, capabilities(7).
var capNames = strings.Fields(`CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL
	CAP_SETGID CAP_SETUID CAP_SETPCAP CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN
	CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE
	CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG
	CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP CAP_MAC_OVERRIDE CAP_MAC_ADMIN
	CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF CAP_CHECKPOINT_RESTORE`)

// capMask is the mask of a set; names that are no capabilities are returned.
func capMask(names []string) (mask uint64, unknown []string) {
	for _, name := range names {
		bit := capNumber(name)
		if bit < 0 {
			unknown = append(unknown, name)
			continue
		}
		mask |= 1 << bit
	}
	return mask, unknown
}

// capNumber is -1 for a name that is no capability.
func capNumber(name string) int {
	for i, n := range capNames {
		if n == name {
			return i
		}
	}
	return -1
}

// wireCaps translates sets of names to masks. What this process does not have
// itself cannot be given: such capabilities are left out, as a container of
// "all" capabilities on a confined host would otherwise not start at all, or with
// Config.StrictCapabilities refused. Unknown names are a warning to the spec
// (config.md, "Linux Process"), where there is somebody to warn.
func (r *Runtime) wireCaps(c *specs.LinuxCapabilities) (wire.Caps, error) {
	var w wire.Caps
	if c == nil {
		return w, nil
	}
	var missing uint64
	for _, set := range []struct {
		names []string
		mask  *uint64
	}{
		{c.Bounding, &w.Bounding},
		{c.Effective, &w.Effective},
		{c.Permitted, &w.Permitted},
		{c.Inheritable, &w.Inheritable},
		{c.Ambient, &w.Ambient},
	} {
		mask, unknown := capMask(set.names)
		if len(unknown) > 0 {
			err := fmt.Errorf("unknown capability %q", strings.Join(unknown, " "))
			if r.cfg.Warn == nil {
				return w, err
			}
			r.warn(err)
		}
		missing |= mask &^ r.ownCaps
		*set.mask = mask & r.ownCaps
	}
	for bit, name := range capNames {
		if missing&(1<<bit) != 0 && r.cfg.StrictCapabilities {
			return w, fmt.Errorf("%s cannot be given: this process does not have it itself", name)
		}
	}
	return w, nil
}

// ownCaps reads the capabilities that this process may hand on.
func ownCaps() (uint64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("read own capabilities: %w", err)
	}
	own := ^uint64(0)
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		if key != "CapPrm" && key != "CapBnd" {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return 0, fmt.Errorf("read own capabilities: %w", err)
		}
		own &= n
	}
	return own, nil
}

// Capabilities lists all capabilities that a spec can name, in the order of their numbers.
func Capabilities() []string { return slices.Clone(capNames) }
