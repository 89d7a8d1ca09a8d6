package netdriver

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"tutti/netdriver/portmap"
)

// SocketsID is the id under which the keeper holds the port sockets of a container.
func SocketsID(containerID string) string { return "ports-" + containerID }

// RelayID is the id under which the keeper holds the control socket of the relay.
const RelayID = "relay"

// keepRelay gives the keeper the control socket of the relay, so that it outlives the engine.
func (d *Driver) keepRelay(control *os.File) error {
	if d.cfg.Keeper == nil {
		return nil
	}
	return d.cfg.Keeper.Hold(RelayID, map[string]*os.File{"control": control})
}

// restoreRelay takes over the relay of an earlier engine.
func (d *Driver) restoreRelay() error {
	if d.cfg.Keeper == nil {
		return nil
	}
	held, err := d.cfg.Keeper.Take(RelayID)
	if err != nil || held["control"] == nil {
		return err
	}
	defer held["control"].Close()
	return d.relay.Adopt(held["control"])
}

func (d *Driver) releaseRelay() error {
	if d.cfg.Keeper == nil {
		return nil
	}
	return d.cfg.Keeper.Release(RelayID)
}

// stopRelay ends the relay if no port is published any more.
func (d *Driver) stopRelay() error {
	d.mu.Lock()
	published := len(d.parked)
	for _, c := range d.containers {
		published += len(c.bindings)
	}
	d.mu.Unlock()
	if published > 0 {
		return nil
	}
	return d.relay.Stop()
}

// keep gives the keeper duplicates of the sockets.
func (d *Driver) keep(containerID string, bindings []*binding) error {
	if d.cfg.Keeper == nil || len(bindings) == 0 {
		return nil
	}
	files := map[string]*os.File{}
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	for _, b := range bindings {
		f, err := b.socket.File()
		if err != nil {
			return err
		}
		files[b.socket.Name()] = f
	}
	return d.cfg.Keeper.Hold(SocketsID(containerID), files)
}

// keepOnly lets the keeper hold nothing of the container but the ports it still has.
func (d *Driver) keepOnly(containerID string, dropped []*binding) {
	if d.cfg.Keeper == nil || len(dropped) == 0 {
		return
	}
	d.mu.Lock()
	var rest []*binding
	if c := d.containers[containerID]; c != nil {
		rest = slices.Clone(c.bindings)
	}
	d.mu.Unlock()
	if err := errors.Join(d.cfg.Keeper.Release(SocketsID(containerID)), d.keep(containerID, rest)); err != nil {
		d.log.Error("give ports back", "container", containerID, "error", err)
	}
}

// restorePorts takes the ports that a live container has, with the keeper's sockets where
// there are any.
func (d *Driver) restorePorts(containerID string, bindings []PortBinding) error {
	held := map[string]*os.File{}
	var err error
	if d.cfg.Keeper != nil {
		if held, err = d.cfg.Keeper.Take(SocketsID(containerID)); err != nil {
			return err
		}
	}
	defer func() {
		for _, f := range held {
			_ = f.Close()
		}
	}()
	d.mu.Lock()
	c := d.containers[containerID]
	d.mu.Unlock()
	if c == nil {
		return errors.New("it has ports, but no network")
	}
	var errs []error
	for _, has := range bindings {
		if has.HostPort == 0 { // at the container's own address
			d.mu.Lock()
			c.openings = append(c.openings, has)
			d.mu.Unlock()
			continue
		}
		b := &binding{PortBinding: has}
		addr := netip.AddrPortFrom(has.HostIP, has.HostPort)
		name := has.Proto + " " + addr.String()
		if f := held[name]; f != nil {
			delete(held, name)
			b.socket, err = portmap.FromFile(d.relay, f)
		} else {
			b.socket, err = d.listen(has.Proto, addr)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("port %s: %w", name, err))
			continue
		}
		if err := b.socket.Lead(b.target()); err != nil {
			errs = append(errs, fmt.Errorf("port %s: %w", name, err))
		}
		d.mu.Lock()
		b.open = true
		c.bindings = append(c.bindings, b)
		d.mu.Unlock()
	}
	return errors.Join(errs...)
}
