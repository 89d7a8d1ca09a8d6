// Package unpack writes the tar of a layer into the folder in which an overlay is to find it (image-spec, layer.md; the
// kernel's overlayfs.rst).
//
// A layer is not trusted: every name and link of it is resolved by the kernel below the folder, from descriptors. Memory does
// not grow with the number of its files: nothing is remembered of a file once it is written, and of folders only the times,
// which can be set at the end alone, in a temporary file when they become many.
package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
)

const (
	// whiteout begins the name of an entry that hides what the layers below have under the rest of the name; opaque is the
	// name of one that hides all that they have in its folder.
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"

	// bufferSize is how much of a file is read and written at once.
	bufferSize = 256 << 10
)

// ErrName means that an entry's name cannot be one of a file in a layer.
var ErrName = errors.New("invalid name in a layer")

// Options of Layer.
type Options struct {
	// Lower are the folders of the layers below, topmost first. The attributes of folders that a layer has files in, but does
	// not mention, are taken from there. In a layer with nothing below it whiteouts mean nothing.
	Lower []string
	// Accept judges each entry before anything is done for it, and may change it; nil: all are taken.
	Accept func(*tar.Header) error
	// Temp is the folder for the temporary file.
	Temp string
}

// Layer reads a tar to its end mark and writes its files into a folder, which is empty at first. Of two entries for one name
// the later one counts. Attributes that the file system does not know, and those that only the engine may set (trusted.*),
// are left out.
func Layer(ctx context.Context, folder string, r io.Reader, o Options) (err error) {
	root, err := openFolder(folder)
	if err != nil {
		return err
	}
	defer unix.Close(root) //nolint:errcheck // O_PATH descriptor
	u := &unpacking{ctx: ctx, root: root, cached: -1, o: o, buffer: make([]byte, bufferSize), folders: folderTimes{temp: o.Temp}}
	defer func() {
		u.forget()
		err = errors.Join(err, u.folders.close())
	}()
	for _, dir := range o.Lower {
		fd, err := openFolder(dir)
		if err != nil {
			return err
		}
		defer unix.Close(fd) //nolint:errcheck // O_PATH descriptor
		u.lower = append(u.lower, fd)
	}
	if err := u.entries(tar.NewReader(r)); err != nil {
		return err
	}
	return u.folders.each(u.setFolderTime)
}

func openFolder(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open folder %s: %w", dir, err)
	}
	return fd, nil
}

// unpacking is one run of Layer.
type unpacking struct {
	ctx     context.Context //nolint:containedctx // of one call
	root    int
	lower   []int
	o       Options
	buffer  []byte
	folders folderTimes

	// The folder of the last entry is usually that of the next.
	cached     int // -1: none
	cachedName string
}

func (u *unpacking) forget() {
	if u.cached >= 0 {
		_ = unix.Close(u.cached)
	}
	u.cached = -1
}

func (u *unpacking) entries(in *tar.Reader) error {
	for {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if u.o.Accept != nil {
			if err := u.o.Accept(h); err != nil {
				return err
			}
		}
		if err := u.entry(in, h); err != nil {
			return fmt.Errorf("file %q: %w", shortened(h.Name), err)
		}
	}
}

func (u *unpacking) entry(in io.Reader, h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if len(h.Name) > unix.PathMax || len(h.Linkname) > unix.PathMax {
		return fmt.Errorf("%w: it is too long", ErrName)
	}
	name := path.Clean("/" + h.Name)
	if name == "/" {
		return nil // the folder itself is the engine's
	}
	dir, base := path.Split(name)
	if err := checkWhiteout(base); err != nil {
		return err
	}
	parent, err := u.parent(dir)
	if err != nil {
		return err
	}
	switch {
	case base == opaque:
		return u.hideFolder(parent)
	case strings.HasPrefix(base, whiteout):
		return u.hide(parent, strings.TrimPrefix(base, whiteout), h)
	}
	return u.write(parent, base, name, in, h)
}

// checkWhiteout refuses whiteouts of what is no file in their folder.
func checkWhiteout(base string) error {
	hidden, ok := strings.CutPrefix(base, whiteout)
	if ok && (hidden == "" || hidden == "." || hidden == "..") {
		return fmt.Errorf("%w: a whiteout %q hides no file", ErrName, base)
	}
	return nil
}

// parent opens the folder of an entry. It stays open until another one is.
func (u *unpacking) parent(dir string) (int, error) {
	if u.cached >= 0 && u.cachedName == dir {
		return u.cached, nil
	}
	fd, err := inroot.Open(u.root, dir, unix.O_PATH|unix.O_DIRECTORY, inroot.Resolve)
	if errors.Is(err, unix.ENOENT) {
		fd, err = u.makeFolders(dir)
	}
	if err != nil {
		return -1, fmt.Errorf("open its folder: %w", err)
	}
	u.forget()
	u.cached, u.cachedName = fd, dir
	return fd, nil
}

// hideFolder hides what the layers below have in a folder.
func (u *unpacking) hideFolder(dir int) error {
	if len(u.lower) == 0 {
		return nil
	}
	return unix.Setxattr(self(dir), "trusted.overlay.opaque", []byte{'y'}, 0)
}

// hide hides what the layers below have under a name. What this layer has there stays, and hides it, too: a folder does so
// when it is opaque.
func (u *unpacking) hide(parent int, name string, h *tar.Header) error {
	if len(u.lower) == 0 {
		return nil
	}
	err := unix.Mknodat(parent, name, unix.S_IFCHR, 0)
	if errors.Is(err, unix.EEXIST) {
		dir, err := unix.Openat(parent, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOTDIR) {
			return nil
		}
		if err != nil {
			return err
		}
		defer unix.Close(dir) //nolint:errcheck // O_PATH descriptor
		return u.hideFolder(dir)
	}
	if err != nil {
		return err
	}
	return unix.Fchownat(parent, name, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW)
}

// shortened is a name as it may stand in a message.
func shortened(name string) string {
	if len(name) > 100 {
		return name[:100] + "..."
	}
	return name
}
