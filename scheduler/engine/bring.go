package engine

import (
	"context"
	"errors"
	"io"

	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"

	"tutti/runtime/files"
)

// Removal is a path of a container that is to go, unless it is of the kind Spared.
type Removal struct {
	Path   string
	Spared files.FileKind
}

// Bring makes files of a container what they are elsewhere, in one go: what is in removals goes, then a tar is unpacked whose
// names begin at the root. The files become those of the container's user, as `docker compose watch` has it; folders that are
// links in the container are followed. It works for a container that does not run, too.
func (e *Engine) Bring(ctx context.Context, name string, removals []Removal, r io.Reader) error {
	u, err := e.FindUnit(name)
	if err != nil {
		return err
	}
	in, body := io.Pipe()
	go func() { // ends with the request's body, which its server closes, or with the pipe
		_, err := io.Copy(body, r)
		body.CloseWithError(err)
	}()
	err = e.useTree(ctx, u, false, func(ctx context.Context, t *files.Tree) error {
		defer context.AfterFunc(ctx, func() { in.CloseWithError(context.Cause(ctx)) })()
		return e.bring(ctx, u, t, removals, in)
	})
	in.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	switch {
	case errors.Is(err, files.ErrOutside), errors.Is(err, files.ErrOverwrite), errors.Is(err, files.ErrArchive):
		return &kindError{ErrInvalid, err.Error()}
	case errors.Is(err, unix.EROFS):
		return &kindError{ErrForbidden, "the mount at the path is read-only: " + err.Error()}
	case err != nil:
		return err
	}
	e.Publish(u, events.ActionExtractToDir, "path", "/")
	return nil
}

func (e *Engine) bring(ctx context.Context, u *Unit, t *files.Tree, removals []Removal, in io.Reader) error {
	x := files.ExtractOptions{KeepOwner: true, KeepKind: true, Links: true, ThroughLinks: true}
	if u.Config.User != "" {
		owner, err := ownerOf(t, u.Config.User)
		if err != nil {
			return err
		}
		x.Owner = owner
	}
	if u.Running() == nil { // of one that runs, the kernel knows what is read-only
		if err := e.writable(u, t, "/"); err != nil {
			return err
		}
	}
	for _, gone := range removals {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.Remove(gone.Path, gone.Spared); err != nil {
			return err
		}
	}
	return t.Extract(ctx, in, "/", x)
}
