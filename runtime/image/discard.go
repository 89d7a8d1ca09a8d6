package image

import (
	"context"
	"errors"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// discardingStore forgets what was written and turned out to be something else than was promised. containerd keeps it, to
// go on with the next time, and would find it wrong for ever.
type discardingStore struct{ content.Store }

func (s discardingStore) Writer(ctx context.Context, options ...content.WriterOpt) (content.Writer, error) {
	w, err := s.Store.Writer(ctx, options...)
	if err != nil {
		return nil, err
	}
	var o content.WriterOpts
	for _, option := range options {
		if err := option(&o); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return &discardingWriter{Writer: w, store: s.Store, ref: o.Ref}, nil
}

type discardingWriter struct {
	content.Writer
	store content.Store
	ref   string
}

func (w *discardingWriter) Commit(ctx context.Context, size int64, expected digest.Digest, options ...content.Opt) error {
	err := w.Writer.Commit(ctx, size, expected, options...)
	if !errdefs.IsFailedPrecondition(err) {
		return err
	}
	if e := w.store.Abort(context.WithoutCancel(ctx), w.ref); e != nil && !errdefs.IsNotFound(e) {
		return errors.Join(err, e)
	}
	return err
}
