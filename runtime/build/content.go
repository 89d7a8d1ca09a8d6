package build

import (
	"context"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
)

// quietContent is a content store that does not write labels which are there
// already: BuildKit sets the same ones at every export, and each write is a
// transaction that waits for the disk.
type quietContent struct{ content.Store }

// Update changes labels. Other fields cannot be changed in a content store.
func (c quietContent) Update(ctx context.Context, info content.Info, fields ...string) (content.Info, error) {
	if len(fields) > 0 {
		if present, err := c.Info(ctx, info.Digest); err == nil && labelsEqual(present, info, fields) {
			return present, nil
		}
	}
	return c.Store.Update(ctx, info, fields...)
}

// labelsEqual compares the labels named by fields of the form "labels.<name>".
func labelsEqual(a, b content.Info, fields []string) bool {
	for _, field := range fields {
		name, ok := strings.CutPrefix(field, "labels.")
		if !ok || a.Labels[name] != b.Labels[name] {
			return false
		}
	}
	return true
}
