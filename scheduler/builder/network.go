package builder

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"tutti/netdriver"
	"tutti/netdriver/netns"
	"tutti/runtime/build"
)

// NetworkName is the name of the network of builds. It cannot be a compose network's: those begin with a letter or digit.
const NetworkName = "-build"

// network is the network of RUN steps: a way out, and no way to any service. It is made when the first step needs it and
// goes with the last build.
type network struct {
	mu     sync.Mutex
	builds int    // and their steps
	id     string // "" while there is none
}

// use counts a build, or one of its steps: when the user interrupts a build it ends before the step that is being killed.
// The returned function counts it off.
func (b *Builder) use() (end func()) {
	n := &b.network
	n.mu.Lock()
	defer n.mu.Unlock()
	n.builds++
	idle := b.config.Busy()
	return func() {
		defer idle()
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.builds--; n.builds > 0 || n.id == "" {
			return
		}
		if err := b.config.Net.RemoveNetwork(context.WithoutCancel(b.ctx), n.id); err != nil {
			b.config.Log.Error("remove the network of builds", "error", err)
			return
		}
		n.id = ""
	}
}

// networkID makes the network if need be.
func (b *Builder) networkID(ctx context.Context) (string, error) {
	n := &b.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.id != "" {
		return n.id, nil
	}
	sum := sha256.Sum256([]byte(b.config.StateRoot + "\x00build"))
	made, err := b.config.Net.CreateNetwork(ctx, netdriver.NetworkSpec{ID: hex.EncodeToString(sum[:]), Name: NetworkName, Driver: "bridge"})
	if err != nil {
		return "", fmt.Errorf("make the network of builds: %w", err)
	}
	n.id = made.ID
	return n.id, nil
}

// stepNetwork is what BuildKit calls for every RUN step.
func (b *Builder) stepNetwork(ctx context.Context) (build.StepNetwork, error) {
	end := b.use()
	id, err := b.networkID(ctx)
	if err != nil {
		end()
		return build.StepNetwork{}, err
	}
	ns, err := netns.New()
	if err != nil {
		end()
		return build.StepNetwork{}, err
	}
	step := "build-" + rand.Text()
	release := func() {
		defer end()
		ns.Close()
		if err := b.config.Net.Detach(context.WithoutCancel(b.ctx), step); err != nil {
			b.config.Log.Error("detach a build step", "error", err)
		}
	}
	ends, err := b.config.Net.Attach(ctx, step, ns, []netdriver.EndpointSpec{{NetworkID: id, Name: step, Interface: "eth0", DefaultRoute: true}})
	if err != nil {
		release()
		return build.StepNetwork{}, err
	}
	return build.StepNetwork{Path: ns.Path(), Host: ends[0].Gateway, Release: release}, nil
}

// RemoveNetwork removes the network that an engine left which died while it built.
func (b *Builder) RemoveNetwork(ctx context.Context) error {
	for _, n := range b.config.Net.Networks() {
		if n.Name == NetworkName {
			return b.config.Net.RemoveNetwork(ctx, n.ID)
		}
	}
	return nil
}
