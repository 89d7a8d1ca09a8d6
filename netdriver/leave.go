package netdriver

import (
	"errors"
	"regexp"
	"slices"
)

// prepareHost remembers how the host is and lets it forward. The host's lock is held.
func (d *Driver) prepareHost(four, six bool) error {
	l, err := d.host.read()
	if err != nil {
		return err
	}
	if err := d.survey(l); err != nil {
		return err
	}
	if four {
		if err := d.host.forward4(l); err != nil {
			return err
		}
	}
	if six {
		return d.host.forward6(l)
	}
	return nil
}

// survey enters in the ledger how the host is, before anything is changed. The host's lock is held.
func (d *Driver) survey(l *ledger) error {
	if l.Firewall != nil {
		return nil
	}
	var err error
	if l.Firewall, err = d.firewall.Survey(); err != nil {
		return err
	}
	links, err := d.links()
	if err != nil {
		return err
	}
	l.Bridges = foreignBridges(links)
	return d.host.write(l)
}

// leaveHost puts the host back as it was found if no engine has a network on it any more.
func (d *Driver) leaveHost() error {
	unlock, err := d.host.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if d.hasBridges() || !d.host.touched() {
		return nil
	}
	links, err := d.links()
	if err != nil || slices.ContainsFunc(links, func(l hostLink) bool { return l.isOf("") && l.bridge }) {
		return err // with another engine's bridge it is the other that will do it
	}
	l, err := d.host.read()
	if err != nil || len(l.Adopted) > 0 {
		return err // the same
	}
	bridges := foreignBridges(links)
	came := slices.ContainsFunc(bridges, func(b string) bool { return !slices.Contains(l.Bridges, b) })
	if came && len(l.Sysctls) > 0 {
		// Docker, say, found that the host forwards already and relies on it now.
		d.log.Info("forwarding stays on: somebody else has made a bridge meanwhile", "bridges", bridges)
		l.Sysctls = nil
	}
	return errors.Join(d.firewall.Leave(l.Firewall), d.host.restore(l))
}

var bridgePattern = regexp.MustCompile(`^tt[0-9a-f]{12}$`)

// hasBridges tells whether a network of this engine needs the host to forward.
func (d *Driver) hasBridges() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.networks {
		if n.Bridged() {
			return true
		}
	}
	return false
}
