package engine

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"tutti/netdriver/netns"
	"tutti/scheduler/container"
	"tutti/scheduler/layout"
)

// sharers are the running containers that have the network of u, by network_mode service:NAME or container:NAME: of u itself
// or of another that has it.
func (e *Engine) sharers(u *Unit) []*Unit {
	all := e.SelectUnits(func(c *container.Config) bool { return strings.Contains(c.NetworkMode, ":") })
	var found []*Unit
	has := map[*Unit]bool{u: true}
	for grown := true; grown; {
		grown = false
		for _, v := range all {
			if has[v] || !v.Snapshot().Alive() {
				continue
			}
			if peer, err := e.Peer(&v.Config, v.Config.NetworkMode); err == nil && has[peer] {
				has[v], grown = true, true
				found = append(found, v)
			}
		}
	}
	return found
}

// sharedNamespace returns the network namespace that a container which is to start left to those that share it: they are
// on the network again when it is. nil when there is nobody.
func (e *Engine) sharedNamespace(ctx context.Context, u *Unit) (*netns.NS, error) {
	for _, v := range e.sharers(u) {
		p := v.Running()
		if p == nil {
			continue
		}
		ns, err := netns.Open(p.NetNS())
		if err != nil {
			continue // it has just ended
		}
		if err := e.NetDriver.Flush(ctx); err != nil { // the links of the last run
			ns.Close()
			return nil, err
		}
		return ns, nil
	}
	return nil, nil //nolint:nilnil // as documented
}

// writeHosts writes a container's /etc/hosts, and that of those who share its network.
func (e *Engine) writeHosts(u *Unit, hosts []byte) error {
	err := writeEtc(filepath.Join(e.filesDir(u.ID), layout.HostsFile), hosts)
	for _, v := range e.sharers(u) {
		if shared := writeEtc(filepath.Join(e.filesDir(v.ID), layout.HostsFile), hosts); !errors.Is(shared, fs.ErrNotExist) { // it has just ended
			err = errors.Join(err, shared)
		}
	}
	return err
}
