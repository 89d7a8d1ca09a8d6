package scheduler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"tutti/netdriver"
	"tutti/netdriver/netns"
)

// buildNetwork is the network of RUN steps: a way out, and no way to any service. It is made when the first step needs it
// and goes with the last build.
type buildNetwork struct {
	mu     sync.Mutex
	builds int    // and their steps
	id     string // "" while there is none
}

// use counts a build, or one of its steps: when the user interrupts a build it ends before the step that is being killed.
// The returned function counts it off.
func (b *buildNetwork) use(e *Engine) (end func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.builds++
	idle := e.busy.begin()
	return func() {
		defer idle()
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.builds--; b.builds > 0 || b.id == "" {
			return
		}
		if err := e.net.RemoveNetwork(context.WithoutCancel(e.ctx), b.id); err != nil {
			e.log.Error("remove the network of builds", "error", err)
			return
		}
		b.id = ""
	}
}

// networkID makes the network if need be.
func (b *buildNetwork) networkID(ctx context.Context, e *Engine) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.id != "" {
		return b.id, nil
	}
	sum := sha256.Sum256([]byte(e.paths.Root + "\x00build"))
	n, err := e.net.CreateNetwork(ctx, netdriver.NetworkSpec{ID: hex.EncodeToString(sum[:]), Name: buildNetworkName, Driver: "bridge"})
	if err != nil {
		return "", fmt.Errorf("make the network of builds: %w", err)
	}
	b.id = n.ID
	return b.id, nil
}

// buildNetworkName cannot be a compose network's: those begin with a letter or digit.
const buildNetworkName = "-build"

// namespace returns what the builder calls for every RUN step.
func (b *buildNetwork) namespace(e *Engine) func(context.Context) (string, func(), error) {
	return func(ctx context.Context) (string, func(), error) {
		end := b.use(e)
		network, err := b.networkID(ctx, e)
		if err != nil {
			end()
			return "", nil, err
		}
		ns, err := netns.New()
		if err != nil {
			end()
			return "", nil, err
		}
		id := "build-" + newID()
		release := func() {
			defer end()
			ns.Close()
			if err := e.net.Detach(context.WithoutCancel(e.ctx), id); err != nil {
				e.log.Error("detach a build step", "error", err)
			}
		}
		if _, err := e.net.Attach(ctx, id, ns, []netdriver.EndpointSpec{{NetworkID: network, Name: id, Interface: "eth0", DefaultRoute: true}}); err != nil {
			release()
			return "", nil, err
		}
		return ns.Path(), release, nil
	}
}

// removeBuildNetwork removes what an engine left that died while it built.
func (e *Engine) removeBuildNetwork(ctx context.Context) error {
	for _, n := range e.net.Networks() {
		if n.Name == buildNetworkName {
			return e.net.RemoveNetwork(ctx, n.ID)
		}
	}
	return nil
}
