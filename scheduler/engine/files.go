package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/moby/moby/api/types/events"
	mobyuser "github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tutti/runtime/files"
	"tutti/scheduler/access"
	"tutti/scheduler/container"
)

// useTree opens a container's file system for as long as use runs: that which its processes see or, when it does not run,
// the same put together anew. bare is without anything that is mounted in it. use must end when its context does.
func (e *Engine) useTree(ctx context.Context, u *Unit, bare bool, use func(context.Context, *files.Tree) error) error {
	for {
		p := u.Running()
		inside, leave, err := u.gate.Enter(ctx, p == nil)
		if err != nil {
			return err
		}
		if u.isRemoved() {
			leave()
			return fmt.Errorf("%w container: %s", ErrNoSuch, u.Name())
		}
		if p != u.Running() { // it was started or has ended meanwhile
			leave()
			continue
		}
		tree, closeTree, err := e.openTree(inside, u, bare)
		if err == nil && p != nil && p.State().Pid == 0 { // its number may have been another's
			err = errors.Join(errEnded, closeTree())
		}
		if err == nil {
			err = errors.Join(use(inside, tree), closeTree())
		}
		if cause := context.Cause(inside); errors.Is(cause, access.ErrInterrupted) {
			err = fmt.Errorf("%w: container %s: %w", ErrConflict, u.Name(), cause)
		}
		leave()
		if !errors.Is(err, errEnded) {
			return err
		}
		if err := u.Wait(ctx, func(container.State) (bool, error) { return u.Running() != p, nil }); err != nil {
			return err
		}
	}
}

// errEnded: a container has ended in the moment in which its file system was opened.
var errEnded = errors.New("the container has ended")

func (e *Engine) openTree(ctx context.Context, u *Unit, bare bool) (*files.Tree, func() error, error) {
	if p := u.Running(); p != nil {
		open := files.Of
		if bare {
			open = files.RootOf
		}
		t, err := open(p.Pid())
		if err != nil {
			if p.State().Pid == 0 || errors.Is(err, fs.ErrNotExist) { // it is about to be told
				err = errEnded
			}
			return nil, nil, err
		}
		return t, t.Close, nil
	}
	var mounts []specs.Mount
	if !bare {
		var err error
		if mounts, err = e.mounts(ctx, u); err != nil {
			return nil, nil, err
		}
	}
	lowers, err := e.lowers(ctx, u.Config.ImageID)
	if err != nil {
		return nil, nil, err
	}
	if err := resetVolatile(u.work()); err != nil {
		return nil, nil, err
	}
	layers := files.Layers{Lower: append(slices.Clip(lowers), e.Paths.Skeleton()), Upper: u.upper(), Work: u.work()}
	v, err := files.Mount(layers, mounts, e.Paths.Rootfs())
	if err != nil {
		return nil, nil, fmt.Errorf("container %s: %w", u.Name(), err)
	}
	return v.Tree, v.Close, nil
}

// missing says in docker's words that a path is not in a container.
func missing(err error, u *Unit, path string) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return &kindError{ErrNoSuch, fmt.Sprintf("Could not find the file %s in container %s", path, u.Name())}
	}
	return err
}

// kindError is a refusal in docker's own words.
type kindError struct {
	kind error
	text string
}

func (k *kindError) Error() string { return k.text }
func (k *kindError) Unwrap() error { return k.kind }

// StatPath describes what is at a path of a container.
func (e *Engine) StatPath(ctx context.Context, name, path string) (info files.Info, err error) {
	u, err := e.FindUnit(name)
	if err != nil {
		return info, err
	}
	err = e.useTree(ctx, u, false, func(_ context.Context, t *files.Tree) error {
		info, err = t.Stat(path)
		return err
	})
	return info, missing(err, u, path)
}

// CopyOut writes a tar of what is at a path of a container. head is told what it is, before the first byte.
func (e *Engine) CopyOut(ctx context.Context, name, path string, w io.Writer, head func(files.Info)) error {
	u, err := e.FindUnit(name)
	if err != nil {
		return err
	}
	err = writeProduced(w, func(out *io.PipeWriter) error {
		return e.useTree(ctx, u, false, func(ctx context.Context, t *files.Tree) error {
			defer context.AfterFunc(ctx, func() { out.CloseWithError(context.Cause(ctx)) })()
			info, err := t.Stat(path)
			if err != nil {
				return err
			}
			head(info)
			return t.Pack(ctx, out, path)
		})
	})
	if err != nil {
		return missing(err, u, path)
	}
	e.Publish(u, events.ActionArchivePath, "path", path)
	return nil
}

// writeProduced writes what produce does, which never waits for w once its pipe is closed: a client that reads slowly, or not at
// all, must not keep a container's file system open when that is to end.
func writeProduced(w io.Writer, produce func(*io.PipeWriter) error) error {
	r, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := produce(out)
		out.CloseWithError(err)
		done <- err
	}()
	_, err := io.Copy(w, r)
	r.CloseWithError(err)
	if produced := <-done; produced != nil {
		return produced
	}
	return err
}

// CopyInOptions of CopyIn.
type CopyInOptions struct {
	KeepKind  bool // a folder is not replaced by something else, nor the other way round
	UserOwner bool // the files become those of the container's user, if it has one; else whose they are in the archive
}

// CopyIn unpacks a tar into a folder of a container.
func (e *Engine) CopyIn(ctx context.Context, name, path string, r io.Reader, o CopyInOptions) error {
	return e.receive(ctx, name, path, r, func(ctx context.Context, u *Unit, t *files.Tree, in io.Reader) error {
		x := files.ExtractOptions{KeepOwner: true, KeepKind: o.KeepKind, Links: true}
		if o.UserOwner {
			var err error
			if x.Owner, err = userOf(t, u); err != nil {
				return err
			}
		}
		if err := e.writable(u, t, path); err != nil {
			return err
		}
		return t.Extract(ctx, in, path, x)
	})
}

// receive lets use unpack what r has below a path of a container, as an error that says what is wrong with the request.
func (e *Engine) receive(ctx context.Context, name, path string, r io.Reader, use func(context.Context, *Unit, *files.Tree, io.Reader) error) error {
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
		return use(ctx, u, t, in)
	})
	in.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	switch {
	case errors.Is(err, files.ErrNotFolder), errors.Is(err, files.ErrOutside), errors.Is(err, files.ErrOverwrite), errors.Is(err, files.ErrArchive):
		return &kindError{ErrInvalid, err.Error()}
	case errors.Is(err, unix.EROFS):
		return &kindError{ErrForbidden, "the mount at the path is read-only: " + err.Error()}
	case err != nil && path != "/": // the root is always there
		return missing(err, u, path)
	case err != nil:
		return err
	}
	e.Publish(u, events.ActionExtractToDir, "path", path)
	return nil
}

// userOf is the owner of a container's files that are its user's, nil when it has none.
func userOf(t *files.Tree, u *Unit) (*files.Owner, error) {
	if u.Config.User == "" {
		return nil, nil
	}
	return ownerOf(t, u.Config.User)
}

// writable refuses to write into the root of a container that is read-only, also while it does not run.
func (e *Engine) writable(u *Unit, t *files.Tree, path string) error {
	if !u.Config.Security.ReadOnly {
		return nil
	}
	mounted, err := t.Mounted(path)
	if err != nil || mounted {
		return err
	}
	return &kindError{ErrForbidden, "container rootfs is marked read-only"}
}

// ownerOf finds a user in a container's own lists.
func ownerOf(t *files.Tree, spec string) (*files.Owner, error) {
	open := func(path string) (io.Reader, func(), error) {
		f, err := t.OpenFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, func() {}, nil
		}
		if err != nil {
			return nil, nil, err
		}
		return io.LimitReader(f, maxUserList), func() { _ = f.Close() }, nil
	}
	passwd, closePasswd, err := open("/etc/passwd")
	if err != nil {
		return nil, err
	}
	defer closePasswd()
	group, closeGroup, err := open("/etc/group")
	if err != nil {
		return nil, err
	}
	defer closeGroup()
	found, err := mobyuser.GetExecUser(spec, nil, passwd, group)
	if err != nil {
		return nil, fmt.Errorf("user %q of the container: %w", spec, err)
	}
	return &files.Owner{UID: found.Uid, GID: found.Gid}, nil
}

// maxUserList bounds what is read of a container's /etc/passwd.
const maxUserList = 1 << 20

// Export writes a tar of a container's file system, without what is mounted in it.
func (e *Engine) Export(ctx context.Context, name string, w io.Writer) error {
	u, err := e.FindUnit(name)
	if err != nil {
		return err
	}
	err = writeProduced(w, func(out *io.PipeWriter) error {
		return e.useTree(ctx, u, true, func(ctx context.Context, t *files.Tree) error {
			defer context.AfterFunc(ctx, func() { out.CloseWithError(context.Cause(ctx)) })()
			return t.Export(ctx, out)
		})
	})
	if err == nil {
		e.Publish(u, events.ActionExport)
	}
	return err
}

// useDifference opens a container together with its image.
func (e *Engine) useDifference(ctx context.Context, u *Unit, use func(context.Context, files.Difference) error) error {
	return e.useTree(ctx, u, true, func(ctx context.Context, merged *files.Tree) (err error) {
		lowers, err := e.lowers(ctx, u.Config.ImageID)
		if err != nil {
			return err
		}
		lower, err := files.Mount(files.Layers{Lower: append(slices.Clip(lowers), e.Paths.Skeleton())}, nil, e.Paths.Rootfs())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, lower.Close()) }()
		upper, err := files.OpenFolder(u.upper())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, upper.Close()) }()
		return use(ctx, files.Difference{Upper: upper, Merged: merged, Lower: lower.Tree})
	})
}

// Changes lists what a container has changed of its image.
func (e *Engine) Changes(ctx context.Context, name string) (list []files.Change, err error) {
	u, err := e.FindUnit(name)
	if err != nil {
		return nil, err
	}
	err = e.useDifference(ctx, u, func(ctx context.Context, d files.Difference) error {
		list, err = d.List(ctx)
		return err
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("container %s: %w", u.Name(), err)
	}
	return list, err
}
