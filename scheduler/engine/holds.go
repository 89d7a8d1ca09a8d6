package engine

import (
	"context"
	"fmt"
	"sync"

	"tutti/scheduler/container"
	"tutti/volumes"
)

// holds counts what containers in the making need, by name or id: until a container's record is written nobody else knows.
type holds struct {
	removing sync.RWMutex // held for writing by who removes something that nothing holds
	mu       sync.Mutex
	count    map[string]int
}

// hold keeps something from being removed until release.
func (h *holds) hold(id string) (release func()) {
	h.removing.RLock()
	defer h.removing.RUnlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count == nil {
		h.count = map[string]int{}
	}
	h.count[id]++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.count[id]--; h.count[id] == 0 {
			delete(h.count, id)
		}
	}
}

func (h *holds) held(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count[id] > 0
}

// needs are what one container in the making holds.
type needs struct {
	e       *Engine
	release []func()
}

func (n *needs) end() {
	for _, release := range n.release {
		release()
	}
}

// images holds the image that a container is made from, and those that it mounts.
func (n *needs) images(ctx context.Context, c *container.Config) error {
	if c.ImageID != "" {
		_, release, err := n.e.useImage(ctx, c.ImageID)
		if err != nil {
			return fmt.Errorf("the image %s is gone: %w", c.Image, err)
		}
		n.release = append(n.release, release)
	}
	for i := range c.Mounts {
		m := &c.Mounts[i]
		if m.Type != volumes.TypeImage {
			continue
		}
		img, release, err := n.e.useImage(ctx, m.Source)
		if err != nil {
			return err
		}
		m.Source = img.ID
		n.release = append(n.release, release)
	}
	return nil
}

// volume holds a volume that is there or about to be made.
func (n *needs) volume(name string) { n.release = append(n.release, n.e.volumeHolds.hold(name)) }
