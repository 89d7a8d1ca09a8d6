package netdriver

import "cmp"

// CheckPort tells whether Publish would find a port of the host free, as an error that wraps [ErrPortTaken] and names who
// has it. An ephemeral port, or a range, is never asked for in vain.
func (d *Driver) CheckPort(s PortSpec) error {
	if s.HostPort == 0 || s.HostPortEnd > s.HostPort {
		return nil
	}
	s.Proto = cmp.Or(s.Proto, "tcp")
	made, err := d.openPort(s, s.HostPort, &endpoint{}, s.addresses())
	closeSockets(made)
	return err
}
