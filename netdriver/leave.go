package netdriver

import (
	"errors"
	"regexp"
	"slices"
)

// prepareHost remembers how the host is and lets it forward. The host's lock is held.
func (d *Driver) prepareHost(six bool) error {
	l, err := d.host.read()
	if err != nil {
		return err
	}
	if l.Firewall == nil {
		if l.Firewall, err = d.firewall.Survey(); err != nil {
			return err
		}
		_, bridges, err := d.linkNames()
		if err != nil {
			return err
		}
		l.Bridges = foreignBridges(bridges)
		if err := d.host.write(l); err != nil {
			return err
		}
	}
	if err := d.host.forward4(l); err != nil {
		return err
	}
	if six {
		return d.host.forward6(l)
	}
	return nil
}

// leaveHost puts the host back as it was found if no engine has a network on it any more.
func (d *Driver) leaveHost() error {
	unlock, err := d.host.lock()
	if err != nil {
		return err
	}
	defer unlock()
	d.mu.Lock()
	mine := len(d.networks)
	d.mu.Unlock()
	if mine > 0 || !d.host.touched() {
		return nil
	}
	names, bridges, err := d.linkNames()
	if err != nil || slices.ContainsFunc(names, bridgePattern.MatchString) {
		return err // with another engine's bridge it is the other that will do it
	}
	l, err := d.host.read()
	if err != nil {
		return err
	}
	came := slices.ContainsFunc(foreignBridges(bridges), func(b string) bool { return !slices.Contains(l.Bridges, b) })
	if came && len(l.Sysctls) > 0 {
		// Docker, say, found that the host forwards already and relies on it now.
		d.log.Info("forwarding stays on: somebody else has made a bridge meanwhile", "bridges", bridges)
		l.Sysctls = nil
	}
	return errors.Join(d.firewall.Leave(l.Firewall), d.host.restore(l))
}

var bridgePattern = regexp.MustCompile(`^tt[0-9a-f]{12}$`)

// foreignBridges returns the bridges that no engine of tutti has made.
func foreignBridges(names []string) []string {
	return slices.DeleteFunc(names, bridgePattern.MatchString)
}
