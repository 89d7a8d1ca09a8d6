package netdriver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
	"tutti/netdriver/portmap"
)

// hostState is what all engines of a host share: a lock, and the memory of how the host was
// before the first of them came.
type hostState struct {
	ns  *netns.NS
	dir string
}

// ledger remembers the host as it was found. It lies in /run, so that it is forgotten at
// boot together with what it describes.
type ledger struct {
	Sysctls  map[string]string `json:"sysctls,omitempty"` // name below /proc/sys/net → value
	Firewall portmap.Baseline  `json:"firewall"`
	Bridges  []string          `json:"bridges,omitempty"` // of others
	// Adopted are bridges of others that networks use, by their names.
	Adopted map[string]adoption `json:"adopted,omitempty"`
}

// adoption is a bridge of the user's, as it was found.
type adoption struct {
	Instance  string         `json:"instance"` // whose network uses it
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Down      bool           `json:"down,omitempty"`
}

// lock waits for the lock of the host and returns what gives it back.
func (h *hostState) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(h.dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { _ = f.Close() }, nil
}

// touched tells whether an engine has changed the host since it was started.
func (h *hostState) touched() bool {
	_, err := os.Stat(h.path())
	return err == nil
}

func (h *hostState) path() string { return filepath.Join(h.dir, "found.json") }

// read returns the ledger. Call it with the lock held.
func (h *hostState) read() (*ledger, error) {
	l := &ledger{Sysctls: map[string]string{}}
	b, err := os.ReadFile(h.path())
	if errors.Is(err, os.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, l); err != nil {
		return nil, fmt.Errorf("read %s: %w", h.path(), err)
	}
	return l, nil
}

// write replaces the ledger. Call it with the lock held.
func (h *hostState) write(l *ledger) error { return writeJSON(h.path(), l) }

// set changes a sysctl of the host and enters in the ledger what it was, together with the
// sysctls that the kernel changes with it.
func (h *hostState) set(l *ledger, name, value string, along ...string) error {
	return h.ns.Do(func() error {
		old, err := sysctl(name)
		if err != nil || old == value {
			return err
		}
		for _, n := range append(along, name) {
			if v, err := sysctl(n); err == nil {
				l.Sysctls[n] = v
			}
		}
		if err := h.write(l); err != nil { // first, so that a crash forgets nothing
			return err
		}
		return setSysctl(name, value)
	})
}

// setBack puts some sysctls back. Those of interfaces that are gone, or that were not changed, are no error.
func (h *hostState) setBack(l *ledger, names ...string) error {
	return h.ns.Do(func() error {
		for _, name := range names {
			value, changed := l.Sysctls[name]
			if !changed {
				continue
			}
			if err := setSysctl(name, value); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			delete(l.Sysctls, name)
		}
		return nil
	})
}

// restore puts the sysctls back that were changed, and forgets. The forwarding switches go
// first, because the kernel changes others with them. The lock is held.
func (h *hostState) restore(l *ledger) error {
	err := h.ns.Do(func() error {
		for _, first := range []bool{true, false} {
			for name, value := range l.Sysctls {
				if first != isForwarding(name) {
					continue
				}
				// An interface that is gone took its settings along.
				if err := setSysctl(name, value); err != nil && !errors.Is(err, os.ErrNotExist) {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("put the host's settings back: %w", err)
	}
	if err := os.Remove(h.path()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func isForwarding(name string) bool {
	return name == "ipv4/ip_forward" || name == "ipv6/conf/all/forwarding"
}

// sysctl returns a setting below /proc/sys/net of the namespace of the calling thread.
func sysctl(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join("/proc/sys/net", name))
	return strings.TrimSpace(string(b)), err
}

// setSysctl changes a setting below /proc/sys/net of the namespace of the calling thread.
func setSysctl(name, value string) error {
	f, err := os.OpenFile(filepath.Join("/proc/sys/net", name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// writeJSON replaces a file in one step, also in front of a power cut.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	next := path + ".next"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(next, path)
}
