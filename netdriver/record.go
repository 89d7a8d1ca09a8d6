package netdriver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
)

// record is what the file of a network holds.
type record struct {
	Network
	Memory map[string]netip.Addr `json:"memory,omitempty"` // container name → its last address
}

// oldRecord is what a record had before networks had pools.
type oldRecord struct {
	Subnets           []netip.Prefix
	Gateway, Gateway6 netip.Addr
	IPRange           netip.Prefix
	AuxAddresses      []netip.Addr
}

// readRecord reads the file of a network, also of an engine that knew one subnet of a family only.
func readRecord(b []byte) (record, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil || len(r.Pools) > 0 {
		return r, err
	}
	var old oldRecord
	if err := json.Unmarshal(b, &old); err != nil {
		return r, err
	}
	for _, subnet := range old.Subnets {
		p := Pool{Subnet: subnet, Gateway: old.Gateway6, Aux: map[string]netip.Addr{}}
		if subnet.Addr().Is4() {
			p.Gateway, p.Range = old.Gateway, old.IPRange
		}
		for i, a := range old.AuxAddresses {
			if subnet.Contains(a) {
				p.Aux[strconv.Itoa(i)] = a
			}
		}
		r.Pools, r.Own = append(r.Pools, p), true
	}
	return r, nil
}

func (d *Driver) file(id string) string {
	return filepath.Join(d.cfg.StateDir, "networks", id+".json")
}

// load reads the networks that were remembered.
func (d *Driver) load() error {
	files, err := filepath.Glob(d.file("*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		r, err := readRecord(b)
		var n *network
		if err == nil {
			n, err = newNetwork(r.Network)
		}
		if err == nil && d.file(n.ID) != f {
			err = fmt.Errorf("it is the record of network %q", n.ID)
		}
		if err != nil { // nobody knows what it was: what the kernel has of it is swept
			d.log.Error("forget a network whose record is damaged", "file", f, "error", err)
			if err := os.Remove(f); err != nil {
				return err
			}
			continue
		}
		for _, p := range n.pools {
			p.Remember(r.Memory)
		}
		d.networks[n.ID] = n
	}
	return nil
}

// saveMemories writes down which container had which address last.
func (d *Driver) saveMemories() error {
	d.mu.Lock()
	var records []record
	for _, n := range d.networks {
		if n.gone == nil {
			records = append(records, record{n.Network, n.memory()})
		}
	}
	d.mu.Unlock()
	var errs []error
	for _, r := range records {
		errs = append(errs, writeJSON(d.file(r.ID), r))
	}
	return errors.Join(errs...)
}

// memory returns the last IPv4 addresses; IPv6 follows the same order by itself.
func (n *network) memory() map[string]netip.Addr {
	for _, p := range n.pools {
		if p.Subnet().Addr().Is4() {
			return p.Memory()
		}
	}
	return nil
}
