// Package netconfig keeps networks that are only a configuration, as docker's `network create --config-only` makes them:
// settings under a name, from which networks are made that then depend on it. No container can be on one.
package netconfig

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"tutti/netdriver"
	"tutti/runtime/statefile"
)

// Store is the folder of the configurations, one file each. They are few and seldom asked for, so that nothing of them is
// kept in memory. Who changes one has to see to it that nobody else does at the same time.
type Store struct{ Dir string }

func (s Store) file(id string) string { return filepath.Join(s.Dir, id+".json") }

// All returns the configurations by name. One whose file is damaged is left out, with an error that names the file.
func (s Store) All() ([]netdriver.NetworkSpec, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list configuration networks: %w", err)
	}
	var all []netdriver.NetworkSpec
	var damaged []error
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" || e.Name()[0] == '.' { // one that was being written
			continue
		}
		var c netdriver.NetworkSpec
		err := statefile.Read(filepath.Join(s.Dir, e.Name()), &c)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed just now
		}
		if err == nil && (c.Name == "" || c.ID+".json" != e.Name()) {
			err = fmt.Errorf("%s is the file of configuration network %q", filepath.Join(s.Dir, e.Name()), c.Name)
		}
		if err != nil {
			damaged = append(damaged, fmt.Errorf("configuration network: %w: remove the file", err))
			continue
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b netdriver.NetworkSpec) int { return cmp.Compare(a.Name, b.Name) })
	return all, errors.Join(damaged...)
}

// Get returns the configuration of a name, and whether there is one.
func (s Store) Get(name string) (netdriver.NetworkSpec, bool, error) {
	all, err := s.All()
	i := slices.IndexFunc(all, func(c netdriver.NetworkSpec) bool { return c.Name == name })
	if i < 0 {
		return netdriver.NetworkSpec{}, false, err
	}
	return all[i], true, nil
}

// Put keeps a configuration, over a power cut too. It needs a name and an id.
func (s Store) Put(c netdriver.NetworkSpec) error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	return statefile.WriteSync(s.file(c.ID), c)
}

// Remove forgets a configuration. One that is not there is no error.
func (s Store) Remove(id string) error {
	if err := os.Remove(s.file(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ErrDepends says that a request for a network beside a configuration asks for what is the configuration's to say.
var ErrDepends = errors.New("not supported if the network depends on a configuration network")

// Derive returns what a network is that is made from a configuration: the request, which may say of whom the network is
// (name, driver, internal, attachable) and nothing of what the configuration says.
func Derive(request, config netdriver.NetworkSpec) (netdriver.NetworkSpec, error) {
	if len(request.Options) > 0 {
		return request, fmt.Errorf("network driver options are %w", ErrDepends)
	}
	custom := request.IPAM != "" && request.IPAM != "default" || len(request.IPAMOptions) > 0 || len(request.Pools) > 0
	if custom || len(request.Labels) > 0 || request.NoIPv4 || request.EnableIPv6 {
		return request, fmt.Errorf("user-specified configurations are %w", ErrDepends)
	}
	made := config
	made.ID, made.Name, made.Driver, made.Internal, made.Attachable = request.ID, request.Name, request.Driver, request.Internal, request.Attachable
	return made, nil
}
