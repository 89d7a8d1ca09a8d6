package build

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
)

// quietContent is the content store without the writes that change nothing:
// BuildKit fetches, writes and labels the same blobs in each build, and each time is
// a transaction that waits for the disk.
type quietContent struct {
	content.Store
	leases *buildLeases
}

// Update changes labels; other fields cannot be changed in a content store.
func (c quietContent) Update(ctx context.Context, info content.Info, fields ...string) (content.Info, error) {
	if len(fields) > 0 {
		if present, err := c.Info(ctx, info.Digest); err == nil && labelsEqual(present, info, fields) {
			return present, nil
		}
	}
	return c.Store.Update(ctx, info, fields...)
}

// Writer writes a blob. For one that exists it adds the blob to the context's lease
// and returns errdefs.ErrAlreadyExists.
func (c quietContent) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var wanted content.WriterOpts
	for _, o := range opts {
		if err := o(&wanted); err != nil {
			return nil, err
		}
	}
	blob, shared := blobResource(wanted.Desc.Digest), isShared(ctx)
	if shared && c.leases.has(blob) {
		if _, err := c.Info(ctx, wanted.Desc.Digest); err == nil {
			return nil, fmt.Errorf("content %s: %w", wanted.Desc.Digest, errdefs.ErrAlreadyExists)
		}
	}
	w, err := c.Store.Writer(ctx, opts...)
	if shared && errdefs.IsAlreadyExists(err) {
		c.leases.remember(blob)
	}
	return w, err
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
