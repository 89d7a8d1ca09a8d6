package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"tutti/netdriver"
	"tutti/scheduler/container"
	"tutti/scheduler/netconfig"
)

// NetworkRequest is what is asked for of a network outside of any project: what a compose file's section has, and more.
type NetworkRequest struct {
	types.NetworkConfig
	ConfigOnly bool   // settings for other networks, see package netconfig
	ConfigFrom string // the name of such settings
	Ingress    bool   // for a swarm's published ports
	Scope      string // "" or local
}

// CreateNetwork makes a network outside of any project, as `network create` does, and tells what of the request has no
// effect. A name that is taken is ErrConflict.
func (e *Engine) CreateNetwork(ctx context.Context, q NetworkRequest) (id string, warnings []string, err error) {
	if !networkNames.MatchString(q.Name) {
		return "", nil, fmt.Errorf("%w: %q is no name for a network: use letters, digits, dashes, dots and underscores", ErrInvalid, q.Name)
	}
	if slices.Contains(reservedNetworks, q.Name) {
		return "", nil, fmt.Errorf("%w: operation is not permitted on predefined %s network", ErrForbidden, q.Name)
	}
	if err := q.check(); err != nil {
		return "", nil, err
	}
	unlock, err := e.networkLocks.lock(ctx, q.Name)
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	if _, err := e.FindNetwork(q.Name); err == nil {
		return "", nil, fmt.Errorf("%w: network with name %s already exists", ErrConflict, q.Name)
	}
	switch {
	case q.ConfigOnly:
		id, err = e.createConfig(q)
	case q.ConfigFrom != "":
		id, warnings, err = e.createFrom(ctx, q)
	default:
		var spec netdriver.NetworkSpec
		if spec, err = NetworkSpec(q.NetworkConfig); err != nil {
			return "", nil, fmt.Errorf("%w: %w", ErrInvalid, withoutKey(err))
		}
		spec.Labels = q.Labels
		id, warnings, err = e.createFreely(ctx, spec)
	}
	if q.ConfigOnly && q.Driver != "" && q.Driver != "bridge" {
		warnings = append(warnings, fmt.Sprintf("network %s: the driver %s has no effect: a configuration has none, say it with `--config-from`", q.Name, q.Driver))
	}
	return id, warnings, err
}

// check finds what can be of no network here.
func (q *NetworkRequest) check() error {
	switch {
	case q.ConfigOnly && q.ConfigFrom != "":
		return fmt.Errorf("%w: a configuration network cannot depend on another configuration network", ErrForbidden)
	case q.ConfigOnly && (q.Ingress || q.Internal || q.Attachable || q.Scope != ""):
		return fmt.Errorf("%w: a configuration network has settings of the network alone: ingress, internal, attachable and scope are said of the networks that are made from it", ErrForbidden)
	case q.Ingress:
		return fmt.Errorf("%w: an ingress network is for the published ports of a swarm, and there is no swarm", ErrForbidden)
	case q.Scope == "swarm":
		return fmt.Errorf("%w: cannot create a swarm scoped network when swarm is not active", ErrForbidden)
	case q.Scope != "" && q.Scope != "local":
		return fmt.Errorf("%w: scope %q: there is one host only, and its networks are local", ErrInvalid, q.Scope)
	}
	return nil
}

// createConfig keeps settings under a name. Whether a driver can do with them is for the networks that are made from them.
func (e *Engine) createConfig(q NetworkRequest) (id string, err error) {
	spec, err := readNetwork(q.NetworkConfig)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, withoutKey(err))
	}
	spec.ID, spec.Driver, spec.Labels = e.NetworkID(q.Name), "", withCreated(q.Labels)
	return spec.ID, e.configs().Put(spec)
}

// createFrom makes a network from settings, which nobody removes meanwhile.
func (e *Engine) createFrom(ctx context.Context, q NetworkRequest) (id string, warnings []string, err error) {
	config, err := e.config(q.ConfigFrom) // who makes a network from one that is not there must not lock its name
	if err != nil {
		return "", nil, err
	}
	unlock, err := e.networkLocks.lock(ctx, config.Name)
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	if config, err = e.config(q.ConfigFrom); err != nil { // removed meanwhile
		return "", nil, err
	}
	request, err := readNetwork(q.NetworkConfig)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrInvalid, withoutKey(err))
	}
	request.Labels = q.Labels
	spec, err := netconfig.Derive(request, config)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	if err := NetworkFault(spec.Name, netdriver.CheckNetwork(spec)); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrInvalid, withoutKey(err))
	}
	spec.Labels = maps.Clone(spec.Labels)
	spec.Labels[labelConfigFrom] = config.Name
	return e.createFreely(ctx, spec)
}

// config finds settings by their name.
func (e *Engine) config(name string) (netdriver.NetworkSpec, error) {
	c, ok, err := e.configs().Get(name)
	if err == nil && !ok {
		err = fmt.Errorf("%w configuration network: %s", ErrNoSuch, name)
	}
	return c, err
}

// createFreely makes a network of its own and tells what of its settings has no effect.
func (e *Engine) createFreely(ctx context.Context, spec netdriver.NetworkSpec) (id string, warnings []string, err error) {
	made, err := e.makeNetwork(ctx, spec)
	if errors.Is(err, netdriver.ErrInvalid) {
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err != nil {
		return "", nil, err
	}
	for _, key := range netdriver.UnknownOptions(made.Driver, made.Options) {
		warnings = append(warnings, fmt.Sprintf("network %s: the option %s has no effect: the driver %s does not know it", made.Name, key, made.Driver))
	}
	for _, key := range slices.Sorted(maps.Keys(made.IPAMOptions)) {
		warnings = append(warnings, fmt.Sprintf("network %s: the ipam option %s has no effect: no ipam driver knows it", made.Name, key))
	}
	return made.ID, warnings, nil
}

// dependents are the networks that were made from a configuration.
func (e *Engine) dependents(config string) []string {
	var all []string
	for _, n := range e.Networks() {
		if n.Labels[labelConfigFrom] == config {
			all = append(all, n.Name)
		}
	}
	return all
}

// RemoveNetwork removes a network that no container has, or a configuration that no network was made from.
func (e *Engine) RemoveNetwork(ctx context.Context, ref string) error {
	n, err := e.FindNetwork(ref)
	switch {
	case err != nil:
		return err
	case n.Predefined:
		return fmt.Errorf("%w: %s is a pre-defined network and cannot be removed", ErrForbidden, n.Name)
	case !n.ConfigOnly:
		return e.DropNetwork(ctx, n.Name)
	}
	unlock, err := e.networkLocks.lock(ctx, n.Name) // no network is made from it meanwhile
	if err != nil {
		return err
	}
	defer unlock()
	if users := e.dependents(n.Name); len(users) > 0 {
		return fmt.Errorf("%w: configuration network %s is in use by network %s: remove that first", ErrForbidden, n.Name, strings.Join(users, ", "))
	}
	return e.configs().Remove(n.ID)
}

// withCreated are labels and the time by which `network prune --filter until` goes.
func withCreated(labels map[string]string) map[string]string {
	all := map[string]string{labelCreated: time.Now().UTC().Format(time.RFC3339Nano)}
	maps.Copy(all, labels)
	return all
}

// withoutKey is the error that says what is wrong with a key, where there is no file to look into.
func withoutKey(err error) error {
	if fault, ok := errors.AsType[*container.Fault](err); ok {
		return fault.Err
	}
	return err
}
