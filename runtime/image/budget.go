package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"tutti/runtime/decompress"
)

// ErrTooLarge means that an archive or a layer unpacks to more than is taken; the store is as it was.
var ErrTooLarge = errors.New("too large")

// errNoRoom is ErrTooLarge for this disk, now.
var errNoRoom = fmt.Errorf("%w for the disk", ErrTooLarge)

// limits bound what archives and layers may unpack to. They are far above what images are.
type limits struct {
	archiveEntries int   // files of an image archive: three a layer, at most
	layerEntries   int   // files of one layer
	ratio, floor   int64 // unpacked, a stream is not more than ratio times its size, or floor bytes
}

var defaultLimits = limits{archiveEntries: 20_000, layerEntries: 1_000_000, ratio: 100, floor: 16 << 30}

// budget counts what one stream unpacks to.
type budget struct {
	limits limits
	root   string // where it goes: what is free there bounds it, too
	size   func() int64
	sum    int64
}

// take is told the size of what comes next, before it is written: a header of a sparse file may promise any size.
func (b *budget) take(n int64) error {
	if n < 0 {
		return errors.New("a negative size")
	}
	b.sum += n
	if most := max(b.limits.floor, b.limits.ratio*b.size()); b.sum > most || b.sum < 0 {
		return fmt.Errorf("%w: it unpacks to more than %s, and to more than %d times its own size", ErrTooLarge, units.BytesSize(float64(b.limits.floor)), b.limits.ratio)
	}
	if n < 1<<20 {
		return nil
	}
	free, err := freeSpace(b.root)
	if err != nil {
		return err
	}
	if n > free {
		return fmt.Errorf("%w: a file of %s, and %s of disk space are free in %s", errNoRoom, units.BytesSize(float64(n)), units.BytesSize(float64(free)), b.root)
	}
	return nil
}

// reader takes what is read.
func (b *budget) reader(r io.Reader) io.Reader { return &budgeted{r, b} }

type budgeted struct {
	r io.Reader
	b *budget
}

func (b *budgeted) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if e := b.b.take(int64(n)); e != nil {
		return n, e
	}
	return n, err
}

// Plain copies a layer, decompressed if it is compressed, and ends with ErrTooLarge when that becomes more than a layer may
// unpack to.
func (s *Store) Plain(w io.Writer, r io.Reader) error {
	in := &counter{r: r}
	plain, err := decompress.New(in)
	if err != nil {
		return err
	}
	defer plain.Close()
	b := &budget{limits: s.limits, root: s.root, size: func() int64 { return in.n }}
	_, err = io.Copy(w, b.reader(plain))
	return err
}

// freeSpace is what may be written to the file system of path: all but a twentieth, or 256 MiB, that is left to others.
func freeSpace(path string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", path, err)
	}
	block := fs.Bsize
	return max(0, int64(fs.Bavail)*block-min(256<<20, int64(fs.Blocks)*block/20)), nil //nolint:gosec // a file system's size
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

// layerFilter judges the headers of a layer before they are followed.
type layerFilter struct {
	budget  *budget
	entries int
}

// accept refuses what is too much, and takes away what only the engine may say to overlayfs.
func (f *layerFilter) accept(h *tar.Header) error {
	if f.entries++; f.entries > f.budget.limits.layerEntries {
		return fmt.Errorf("%w: more than %d files", ErrTooLarge, f.budget.limits.layerEntries)
	}
	if err := f.budget.take(h.Size); err != nil {
		return fmt.Errorf("file %q: %w", shortened(h.Name), err)
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "SCHILY.xattr.trusted.overlay.") || strings.HasPrefix(key, "SCHILY.xattr.user.overlay.") {
			delete(h.PAXRecords, key) // whiteouts and redirections have their own form in a layer
		}
	}
	return nil
}

// shortened is a name as it may stand in a message.
func shortened(name string) string {
	if len(name) > 100 {
		return name[:100] + "..."
	}
	return name
}
