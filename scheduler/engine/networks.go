package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"sort"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/events"

	"tutti/netdriver"
	"tutti/project"
	"tutti/scheduler/api"
	"tutti/scheduler/builder"
	"tutti/scheduler/container"
	"tutti/scheduler/plan"
)

// Labels of networks that nobody is shown. What else is known of a network is the driver's.
const (
	labelCreated = "tutti.created" // when it was made, RFC 3339
	labelConfig  = "tutti.config"  // project.NetworkCanonical of the definition that it was made from
)

// loadNetworks learns what networks there are. Everything that is known of one is the driver's, or in its labels.
func (e *Engine) loadNetworks() {
	for _, n := range e.NetDriver.Networks() {
		if n.Name != builder.NetworkName {
			e.networks[n.Name] = n
		}
	}
}

// MakeNetwork makes the network that a project's model calls key; one that is there already is left as it is. The firewall
// follows with what is on it, see [netdriver.Driver.Settle].
func (e *Engine) MakeNetwork(ctx context.Context, p *project.Project, key string) error {
	c := p.Networks[key]
	e.mu.Lock()
	_, have := e.networks[c.Name]
	e.mu.Unlock()
	if have {
		return nil
	}
	spec, err := NetworkSpec(c)
	if err != nil {
		return err
	}
	spec.Labels = map[string]string{
		api.LabelProject: p.Name, api.LabelNetwork: key, api.LabelConfigHash: p.NetworkHash(key), labelConfig: string(p.NetworkCanonical(key)),
	}
	for _, m := range []types.Labels{c.Labels, c.CustomLabels} {
		maps.Copy(spec.Labels, m)
	}
	_, err = e.addNetwork(ctx, spec)
	return err
}

// NetworkID is the id of a network with that name.
func (e *Engine) NetworkID(name string) string {
	sum := sha256.Sum256([]byte(e.Paths.Root + "\x00" + name))
	return hex.EncodeToString(sum[:])
}

// makeNetwork makes a network.
func (e *Engine) makeNetwork(ctx context.Context, spec netdriver.NetworkSpec) (netdriver.Network, error) {
	made, err := e.addNetwork(ctx, spec)
	if err != nil {
		return made, err
	}
	if err := e.NetDriver.Settle(ctx); err != nil {
		return made, errors.Join(fmt.Errorf("network %s: %w", spec.Name, err), e.dropNetworkLocked(ctx, spec.Name))
	}
	return made, nil
}

// addNetwork makes a network without waiting for the firewall. Its id follows from its name, so that it is found again
// whatever happens.
func (e *Engine) addNetwork(ctx context.Context, spec netdriver.NetworkSpec) (netdriver.Network, error) {
	spec.ID = e.NetworkID(spec.Name)
	spec.Labels = maps.Clone(spec.Labels)
	if spec.Labels == nil {
		spec.Labels = map[string]string{}
	}
	spec.Labels[labelCreated] = time.Now().UTC().Format(time.RFC3339Nano)
	made, _, err := e.NetDriver.AddNetwork(ctx, spec)
	if err != nil {
		return made, err
	}
	e.mu.Lock()
	e.networks[made.Name] = made
	e.mu.Unlock()
	e.networkEvent(made, events.ActionCreate, "")
	return made, nil
}

// EnsureDefaultBridge makes the network of containers with `network_mode: bridge`, if c is one and it is not there.
func (e *Engine) EnsureDefaultBridge(ctx context.Context, c container.Config) error {
	if _, on := c.On(plan.DefaultBridge); !on {
		return nil
	}
	unlock, err := e.networkLocks.lock(ctx, plan.DefaultBridge)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := e.NetworkByName(plan.DefaultBridge); err == nil {
		return nil
	}
	_, err = e.makeNetwork(ctx, netdriver.NetworkSpec{Name: plan.DefaultBridge, Driver: "bridge"})
	return err
}

// dropUnusedBridge removes the network that EnsureDefaultBridge has made, when no container is left that is on it.
func (e *Engine) dropUnusedBridge(ctx context.Context) error {
	if len(e.UsersOfNetworks(func(*container.Config) bool { return true })[plan.DefaultBridge]) > 0 {
		return nil
	}
	return e.DropNetwork(ctx, plan.DefaultBridge)
}

// UsersOfNetworks are the names of the containers on each network, of those that match selects, sorted.
func (e *Engine) UsersOfNetworks(match func(*container.Config) bool) map[string][]string {
	users := map[string][]string{}
	for _, u := range e.SelectUnits(match) {
		for _, a := range u.Now().Networks {
			users[a.Network] = append(users[a.Network], u.Name())
		}
	}
	for _, names := range users {
		sort.Strings(names)
	}
	return users
}

// DropNetwork removes a network by name; one that is gone is no error, one that containers use is.
func (e *Engine) DropNetwork(ctx context.Context, name string) error {
	unlock, err := e.networkLocks.lock(ctx, name) // nobody is connected meanwhile
	if err != nil {
		return err
	}
	defer unlock()
	return e.dropNetworkLocked(ctx, name)
}

// dropNetworkLocked is DropNetwork for who has the name's turn.
func (e *Engine) dropNetworkLocked(ctx context.Context, name string) error {
	n, err := e.NetworkByName(name)
	if err != nil {
		return nil //nolint:nilerr // gone
	}
	users := e.UsersOfNetworks(func(*container.Config) bool { return true })[name]
	if len(users) > 0 {
		return inUse(fmt.Sprintf("network %s has active endpoints: it is in use by %s; remove them, or `tutti network disconnect %s NAME`", name, strings.Join(users, ", "), name))
	}
	if err := e.NetDriver.RemoveNetwork(ctx, n.ID); err != nil {
		return err
	}
	e.mu.Lock()
	delete(e.networks, name)
	e.mu.Unlock()
	e.networkEvent(n, events.ActionDestroy, "")
	return nil
}

// inUse says that something cannot be removed because containers need it.
func inUse(what string) error { return fmt.Errorf("%w: %s", ErrConflict, what) }

// NetworkByName finds a network, or says that there is none.
func (e *Engine) NetworkByName(name string) (netdriver.Network, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n, ok := e.networks[name]; ok {
		return n, nil
	}
	return netdriver.Network{}, fmt.Errorf("network %s does not exist", name)
}
