package engine

import (
	"context"
	"io"

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
	return e.receive(ctx, name, "/", r, func(ctx context.Context, u *Unit, t *files.Tree, in io.Reader) error {
		return e.bring(ctx, u, t, removals, in)
	})
}

func (e *Engine) bring(ctx context.Context, u *Unit, t *files.Tree, removals []Removal, in io.Reader) error {
	owner, err := userOf(t, u)
	if err != nil {
		return err
	}
	x := files.ExtractOptions{KeepOwner: true, KeepKind: true, Links: true, ThroughLinks: true, Owner: owner}
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
