package image

import (
	"context"
	"errors"

	"github.com/containerd/containerd/v2/core/content"
)

// containerd's metadata store opens a writer of the content store within a transaction. Where the transaction cannot be
// committed, on a full disk for instance, it forgets the writer (core/metadata/content.go, Writer), which holds the lock of
// its ref: whoever asks for the same ref later, the next pull of the image, would wait for it until this process ends. These
// two, below and above the metadata store, see to it that such a writer is closed.

// localContent is the content store of package local.
type localContent interface {
	content.Store
	WalkStatusRefs(ctx context.Context, visit func(string) error) error
}

// tellingContent tells whoever asks through [closingContent] which writer it has opened.
type tellingContent struct{ localContent }

// openedKey is the context's key of a *content.Writer.
type openedKey struct{}

func (s tellingContent) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	w, err := s.localContent.Writer(ctx, opts...)
	if opened, ok := ctx.Value(openedKey{}).(*content.Writer); ok && err == nil {
		*opened = w
	}
	return w, err
}

// closingContent closes the writers that a failed call has left open.
type closingContent struct{ content.Store }

func (s closingContent) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var opened content.Writer
	w, err := s.Store.Writer(context.WithValue(ctx, openedKey{}, &opened), opts...)
	if err != nil && opened != nil {
		err = errors.Join(err, opened.Close())
	}
	return w, err
}
