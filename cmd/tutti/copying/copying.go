// Package copying moves files between a container and this host as `docker cp` does: where a folder or a file ends up
// depends on what both sides are (https://docs.docker.com/reference/cli/docker/container/cp/). Those rules are moby's own
// library's; what comes out of a container is unpacked by our own code, which never follows a link of it.
package copying

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/log"
	"github.com/moby/go-archive"

	"tutti/runtime/files"
	"tutti/scheduler/api"
)

// Options of a copy.
type Options struct {
	FollowLink bool      // of the source, when it is a symbolic link
	UserOwner  bool      // what is copied into a container becomes its user's
	In         io.Reader // where "-" as the source reads a tar from
	Out        io.Writer // where "-" as the destination writes one to
}

// Split takes an argument apart: "CONTAINER:PATH", or a path of this host with container "". A path with a colon in it is
// told by beginning with "/" or ".".
func Split(arg string) (container, path string) {
	container, path, ok := strings.Cut(arg, ":")
	if !ok || filepath.IsAbs(arg) || strings.HasPrefix(container, ".") {
		return "", arg
	}
	return container, path
}

// local is an absolute path that ends in "/" or "/." as it was given.
func local(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return archive.PreserveTrailingDotOrSeparator(absolute, path), nil
}

// From copies out of a container. It returns how many bytes have come, a tar with its headers.
func From(ctx context.Context, c *api.Client, container, source, destination string, o Options) (int64, error) {
	if destination != "-" {
		var err error
		if destination, err = local(destination); err != nil {
			return 0, err
		}
		if err := checkOutput(destination); err != nil {
			return 0, err
		}
	}
	var rebase string
	if o.FollowLink {
		source, rebase = followed(ctx, c, container, source)
	}
	content, stat, err := c.CopyFrom(ctx, container, source)
	if err != nil {
		return 0, err
	}
	defer content.Close() //nolint:errcheck // reads only
	counted := &counter{r: content}
	if destination == "-" {
		_, err := io.Copy(o.Out, counted)
		return counted.n, err
	}
	info := archive.CopyInfo{Path: source, Exists: true, IsDir: stat.Mode.IsDir(), RebaseName: rebase}
	var in io.Reader = counted
	if rebase != "" {
		_, base := archive.SplitPathDirEntry(source)
		rebased := archive.RebaseArchiveEntries(counted, base, rebase)
		defer rebased.Close() //nolint:errcheck // reads only
		in = rebased
	}
	err = unpack(ctx, in, info, destination)
	return counted.n, err
}

// checkOutput refuses a destination whose folder is not there, and devices.
func checkOutput(path string) error {
	dir := filepath.Dir(filepath.Clean(path))
	if dir != "" && dir != "." {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("invalid output path: directory %q does not exist", dir)
		}
	}
	st, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it is to be made
	}
	if err != nil {
		return err
	}
	if err := checkMode(st.Mode()); err != nil {
		return fmt.Errorf("invalid output path: %q must be a directory or a regular file: %w", path, err)
	}
	return nil
}

// checkMode refuses what nothing is copied into.
func checkMode(mode os.FileMode) error {
	switch {
	case mode&os.ModeDevice != 0:
		return errors.New("got a device")
	case mode&os.ModeIrregular != 0:
		return errors.New("got an irregular file")
	}
	return nil
}

// followed is where a link in a container leads, and the name under which what is there is copied.
func followed(ctx context.Context, c *api.Client, container, source string) (path, rebase string) {
	stat, err := c.StatPath(ctx, container, source)
	if err != nil || stat.Mode&os.ModeSymlink == 0 {
		return source, "" // what is wrong shows when it is copied
	}
	target := stat.LinkTarget
	if !filepath.IsAbs(target) {
		parent, _ := archive.SplitPathDirEntry(source)
		target = filepath.Join(parent, target)
	}
	return archive.GetRebaseName(source, target)
}

// unpack puts what came out of a container into its place.
func unpack(ctx context.Context, in io.Reader, source archive.CopyInfo, destination string) error {
	info, err := archive.CopyInfoDestinationPath(destination)
	if err != nil {
		return err
	}
	dir, content, err := archive.PrepareArchiveCopy(in, source, info)
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // reads only
	tree, err := files.OpenFolder(dir)
	if err != nil {
		return err
	}
	return errors.Join(tree.Extract(ctx, content, "/", files.ExtractOptions{KeepKind: true}), tree.Close())
}

// To copies into a container. It returns how many bytes were sent.
func To(ctx context.Context, c *api.Client, container, source, destination string, o Options) (int64, error) {
	info, err := target(ctx, c, container, destination)
	if err != nil {
		return 0, err
	}
	if source == "-" {
		if !info.IsDir {
			return 0, fmt.Errorf("destination \"%s:%s\" must be a directory", container, destination)
		}
		in := &counter{r: o.In}
		err := c.CopyTo(ctx, container, info.Path, o.UserOwner, in)
		return in.n, err
	}
	if source, err = local(source); err != nil {
		return 0, err
	}
	from, err := archive.CopyInfoSourcePath(source, o.FollowLink)
	if err != nil {
		return 0, err
	}
	log.L.Logger.SetOutput(io.Discard) // the library says there what it returns, too
	packed, err := archive.TarResource(from)
	if err != nil {
		return 0, err
	}
	defer packed.Close() //nolint:errcheck // reads only
	dir, content, err := archive.PrepareArchiveCopy(packed, from, info)
	if err != nil {
		return 0, err
	}
	defer content.Close() //nolint:errcheck // reads only
	in := &counter{r: content}
	err = c.CopyTo(ctx, container, dir, o.UserOwner, in)
	return in.n, err
}

// target is what is at the destination in a container, behind a link.
func target(ctx context.Context, c *api.Client, container, destination string) (archive.CopyInfo, error) {
	info := archive.CopyInfo{Path: destination}
	stat, err := c.StatPath(ctx, container, destination)
	if err == nil && stat.Mode&os.ModeSymlink != 0 {
		info.Path = stat.LinkTarget
		if !filepath.IsAbs(info.Path) {
			parent, _ := archive.SplitPathDirEntry(destination)
			info.Path = filepath.Join(parent, info.Path)
		}
		stat, err = c.StatPath(ctx, container, info.Path)
	}
	if err != nil {
		return info, nil //nolint:nilerr // it may be made; if not, the copy itself says why
	}
	if err := checkMode(stat.Mode); err != nil {
		return info, fmt.Errorf(`destination "%s:%s" must be a directory or a regular file: %w`, container, destination, err)
	}
	info.Exists, info.IsDir = true, stat.Mode.IsDir()
	return info, nil
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
