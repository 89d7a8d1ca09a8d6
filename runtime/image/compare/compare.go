// Package compare tells how the folder of an unpacked layer differs from one that has just been unpacked from the same
// content: names, kinds, sizes, content, modes, owners, devices, links and attributes. Times are not compared, and neither
// are the names that one file has.
package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
)

// maxDepth bounds how deep folders are nested: each keeps descriptors open.
const maxDepth = 1000

// Difference is one file that is not as it should be.
type Difference struct {
	Path    string // absolute, in the layer
	Problem string
}

// Layers compares the layer in the folder have with the right one in want, and calls found for each difference; an error of
// its ends the comparison. lower are the folders of the layers below, topmost first: a layer that a build has made may hold,
// other than one from an archive, files that are no different there, and sockets.
func Layers(ctx context.Context, have, want string, lower []string, found func(Difference) error) error {
	c := &comparison{ctx: ctx, found: found}
	for _, dir := range slices.Concat([]string{have, want}, lower) {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open folder %s: %w", dir, err)
		}
		defer unix.Close(fd) //nolint:errcheck // O_PATH descriptor
		c.roots = append(c.roots, fd)
	}
	return c.folder(c.roots[0], c.roots[1], "/", 0, false)
}

// comparison is one call of Layers.
type comparison struct {
	ctx   context.Context //nolint:containedctx // of one call
	roots []int           // have, want, and the layers below
	found func(Difference) error

	buffers [2][64 << 10]byte
}

// folder compares two folders. covered: nothing of the layers below is seen in the one that is there, for it is opaque or in a
// folder that is.
func (c *comparison) folder(have, want int, at string, depth int, covered bool) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: folders are nested too deep", at)
	}
	if err := c.ctx.Err(); err != nil {
		return err
	}
	here, err := names(have)
	if err != nil {
		return fmt.Errorf("list %s: %w", at, err)
	}
	there, err := names(want)
	if err != nil {
		return fmt.Errorf("list %s: %w", at, err)
	}
	covered = covered || isOpaque(have)
	for len(here) > 0 || len(there) > 0 {
		switch {
		case len(there) == 0 || len(here) > 0 && here[0] < there[0]:
			err = c.surplus(have, here[0], path.Join(at, here[0]))
			here = here[1:]
		case len(here) == 0 || there[0] < here[0]:
			err = c.missing(want, there[0], path.Join(at, there[0]), covered)
			there = there[1:]
		default:
			err = c.pair(have, want, here[0], path.Join(at, here[0]), depth, covered)
			here, there = here[1:], there[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) pair(have, want int, name, at string, depth int, covered bool) error {
	a, err := open(have, name)
	if err != nil {
		return fmt.Errorf("look at %s: %w", at, err)
	}
	defer a.close()
	b, err := open(want, name)
	if err != nil {
		return fmt.Errorf("look at %s: %w", at, err)
	}
	defer b.close()
	problem, err := c.differ(a, b)
	if err != nil {
		return fmt.Errorf("look at %s: %w", at, err)
	}
	if problem != "" {
		if err := c.found(Difference{at, problem}); err != nil {
			return err
		}
	}
	if a.kind() != unix.S_IFDIR || b.kind() != unix.S_IFDIR {
		return nil
	}
	return c.folder(a.fd, b.fd, at, depth+1, covered)
}

// missing judges what only the right layer has. Builds say of a folder that was made anew what is no longer in it, one by one;
// in the folder itself nothing of that is seen.
func (c *comparison) missing(dir int, name, at string, covered bool) error {
	if covered {
		f, err := open(dir, name)
		if err != nil {
			return fmt.Errorf("look at %s: %w", at, err)
		}
		defer f.close()
		if f.isWhiteout() {
			return nil
		}
	}
	return c.found(Difference{at, "is missing"})
}

// isOpaque tells whether a folder hides what the layers below have in its place.
func isOpaque(dir int) bool {
	var value [2]byte
	n, err := unix.Getxattr("/proc/self/fd/"+strconv.Itoa(dir), "trusted.overlay.opaque", value[:])
	return err == nil && n == 1 && value[0] == 'y'
}

// surplus judges what the right layer has not: it may hide nothing and change nothing.
func (c *comparison) surplus(dir int, name, at string) error {
	a, err := open(dir, name)
	if err != nil {
		return fmt.Errorf("look at %s: %w", at, err)
	}
	defer a.close()
	if a.kind() == unix.S_IFSOCK {
		return nil
	}
	below, err := c.below(at)
	if err != nil {
		return fmt.Errorf("look at %s: %w", at, err)
	}
	if below == nil {
		if a.isWhiteout() {
			return nil
		}
		return c.found(Difference{at, "should not be there"})
	}
	defer below.close()
	problem, err := c.differ(a, below)
	if err != nil {
		return fmt.Errorf("look at %s: %w", at, err)
	}
	if problem != "" {
		return c.found(Difference{at, "should not be there"})
	}
	if a.kind() != unix.S_IFDIR {
		return nil
	}
	inside, err := names(a.fd)
	if err != nil {
		return fmt.Errorf("list %s: %w", at, err)
	}
	for _, name := range inside {
		if err := c.surplus(a.fd, name, path.Join(at, name)); err != nil {
			return err
		}
	}
	return nil
}

// below is what the layers below have at a path; nil for nothing.
func (c *comparison) below(at string) (*file, error) {
	for _, root := range c.roots[2:] {
		fd, err := inroot.Open(root, path.Dir(at), unix.O_PATH|unix.O_DIRECTORY, inroot.Resolve|unix.RESOLVE_NO_SYMLINKS)
		if err != nil {
			continue // nothing of that kind there
		}
		f, err := open(fd, path.Base(at))
		_ = unix.Close(fd)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil || !f.isWhiteout() {
			return f, err
		}
		f.close()
		return nil, nil //nolint:nilnil // nothing, which is an answer
	}
	return nil, nil //nolint:nilnil // nothing, which is an answer
}

// differ says how two files differ; "" when they do not.
func (c *comparison) differ(a, b *file) (string, error) {
	switch {
	case a.kind() != b.kind():
		return "is of another kind", nil
	case a.kind() != unix.S_IFLNK && a.Mode != b.Mode:
		return fmt.Sprintf("has the mode %04o, not %04o", a.Mode&0o7777, b.Mode&0o7777), nil
	case a.Uid != b.Uid || a.Gid != b.Gid:
		return fmt.Sprintf("belongs to %d:%d, not %d:%d", a.Uid, a.Gid, b.Uid, b.Gid), nil
	case a.Rdev != b.Rdev:
		return "is another device", nil
	}
	switch a.kind() {
	case unix.S_IFREG:
		if a.Size != b.Size {
			return fmt.Sprintf("has %d bytes, not %d", a.Size, b.Size), nil
		}
		if same, err := c.sameContent(a, b); err != nil || !same {
			return "has another content", err
		}
	case unix.S_IFLNK:
		if a.target() != b.target() {
			return "leads elsewhere", nil
		}
		return "", nil // nobody may set attributes of links
	}
	return differentAttributes(a, b)
}

func (c *comparison) sameContent(a, b *file) (bool, error) {
	x, err := a.reader()
	if err != nil {
		return false, err
	}
	defer x.Close()
	y, err := b.reader()
	if err != nil {
		return false, err
	}
	defer y.Close()
	p, q := c.buffers[0][:], c.buffers[1][:]
	for {
		if err := c.ctx.Err(); err != nil {
			return false, err
		}
		n, errX := io.ReadFull(x, p)
		m, errY := io.ReadFull(y, q)
		if !bytes.Equal(p[:n], q[:m]) {
			return false, nil
		}
		end := errors.Is(errX, io.EOF) || errors.Is(errX, io.ErrUnexpectedEOF)
		if errX != nil && !end {
			return false, errX
		}
		if end || errY != nil {
			return true, nil
		}
	}
}

// file is an open file of a layer.
type file struct {
	fd int // O_PATH
	unix.Stat_t
}

func open(dir int, name string) (*file, error) {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := &file{fd: fd}
	if err := unix.Fstat(fd, &f.Stat_t); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *file) close()           { _ = unix.Close(f.fd) }
func (f *file) kind() uint32     { return f.Mode & unix.S_IFMT }
func (f *file) isWhiteout() bool { return f.kind() == unix.S_IFCHR && f.Rdev == 0 }
func (f *file) path() string     { return "/proc/self/fd/" + strconv.Itoa(f.fd) }

func (f *file) reader() (*os.File, error) {
	return os.OpenFile(f.path(), os.O_RDONLY|unix.O_NOATIME|unix.O_NONBLOCK, 0)
}

func (f *file) target() string {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(f.fd, "", b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// differentAttributes compares extended attributes. Of overlayfs's own only that counts which hides what is below: the
// kernel sets others, and this one also where nothing is below.
func differentAttributes(a, b *file) (string, error) {
	have, err := a.attributes()
	if err != nil {
		return "", err
	}
	want, err := b.attributes()
	if err != nil {
		return "", err
	}
	for name, value := range want {
		if other, ok := have[name]; !ok || other != value {
			return "lacks the attribute " + name, nil
		}
	}
	for name := range have {
		if _, ok := want[name]; !ok && !strings.HasPrefix(name, "trusted.") {
			return "has the attribute " + name, nil
		}
	}
	return "", nil
}

func (f *file) attributes() (map[string]string, error) {
	n, err := unix.Listxattr(f.path(), nil)
	if errors.Is(err, unix.ENOTSUP) || err == nil && n == 0 { // most files have none
		return nil, nil
	}
	list := make([]byte, 64<<10) // XATTR_LIST_MAX
	if err == nil {
		n, err = unix.Listxattr(f.path(), list)
	}
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for name := range strings.SplitSeq(string(list[:n]), "\x00") {
		if name == "" || strings.HasPrefix(name, "trusted.") && name != "trusted.overlay.opaque" {
			continue
		}
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Getxattr(f.path(), name, value)
		if err != nil {
			return nil, err
		}
		all[name] = string(value[:n])
	}
	return all, nil
}

// names lists a folder, sorted.
func names(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "folder")
	defer f.Close()
	list, err := f.Readdirnames(-1)
	slices.Sort(list)
	return list, err
}
