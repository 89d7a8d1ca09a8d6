package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// racyTime is how old a file's last change must be for the next look to notice a further one. It is more than the step of
// the coarsest clock of a file system; git's racy-git.txt describes the matter.
const racyTime = 3 * time.Second

const (
	// maxEntries bounds a folder that is a source of a build. BuildKit has each of its files in memory, and a layer cannot
	// have more.
	maxEntries = 500_000
	// manyEntries are so many that memory is to be spared.
	manyEntries = 10_000
)

// watchedFolder is a folder of the host that a build reads. It remembers what it has told about the files: whoever asks the same
// again and is told the same has an unchanged folder in front of him.
type watchedFolder struct {
	fsutil.FS
	root string
	max  int // entries

	mu   sync.Mutex
	seen sightings

	many func() // called when a walk meets manyEntries; may be nil
}

// sightings are what a folder has told.
type sightings struct {
	walks []digest.Digest          // one per walk
	texts map[string]digest.Digest // of files in the folder itself that were read to their end
	age   time.Duration            // between the last change of a file and the look at it
	odd   bool                     // something could not be read, or was two things
}

// openFolder opens a folder as a source of a build.
func openFolder(what, path string) (*watchedFolder, error) {
	if strings.TrimSpace(path) == "" {
		return nil, fmt.Errorf("%s is missing", what)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s %s is not a folder", what, path)
	}
	files, err := fsutil.NewFS(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return newWatchedFolder(files, path), nil
}

func newWatchedFolder(files fsutil.FS, root string) *watchedFolder {
	return &watchedFolder{FS: files, root: root, max: maxEntries, seen: sightings{age: math.MaxInt64}}
}

// again is the same folder, of which nothing was told yet.
func (f *watchedFolder) again() *watchedFolder { return newWatchedFolder(f.FS, f.root) }

// told returns what was told so far, the walks in an order of their own.
func (f *watchedFolder) told() sightings {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.seen
	s.walks, s.texts = slices.Sorted(slices.Values(s.walks)), maps.Clone(s.texts)
	return s
}

// Walk tells about files. What is remembered are those whose metadata is asked for: filters leave out the others. A walk
// from below the root is one along links, where what is missing and what is no link count as well.
func (f *watchedFolder) Walk(ctx context.Context, target string, visit fs.WalkDirFunc) error {
	w := &walk{root: f.root, sum: sha256.New(), names: filepath.Clean("/"+target) != "/", began: time.Now(), age: math.MaxInt64}
	fmt.Fprintf(w.sum, "walk %q\n", target)
	entries, transfer := 0, paceOf(ctx)
	err := f.FS.Walk(ctx, target, func(path string, entry fs.DirEntry, walkErr error) error {
		switch entries++; {
		case entries > f.max:
			return fmt.Errorf("%s has more than %d files: name those that the build does not need in its .dockerignore", f.root, f.max)
		case entries == manyEntries && f.many != nil:
			f.many()
		}
		if transfer != nil {
			if err := transfer.wait(ctx); err != nil {
				return err
			}
		}
		switch {
		case walkErr != nil:
			w.odd = w.odd || !errors.Is(walkErr, fs.ErrNotExist)
			fmt.Fprintf(w.sum, "error %q\n", path)
		case w.names:
			fmt.Fprintf(w.sum, "name %q %v\n", path, entry.Type())
		}
		if entry != nil {
			entry = seenEntry{entry, w, path}
		}
		return visit(path, entry, walkErr)
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen.walks = append(f.seen.walks, digest.NewDigest(digest.SHA256, w.sum))
	f.seen.age, f.seen.odd = min(f.seen.age, w.age), f.seen.odd || w.odd
	return err
}

// walk sums up what one walk tells.
type walk struct {
	root  string
	sum   hash.Hash
	names bool
	began time.Time
	age   time.Duration
	odd   bool
}

// seenEntry enters an entry's metadata into the walk's sum when it is asked for. Who owns it on the host is nobody's business.
type seenEntry struct {
	fs.DirEntry
	walk *walk
	path string
}

func (e seenEntry) Info() (fs.FileInfo, error) {
	info, err := e.DirEntry.Info()
	if err != nil {
		e.walk.odd = true
		return info, err
	}
	if stat, ok := info.Sys().(*types.Stat); ok {
		stat.Uid, stat.Gid = 0, 0 // it is a copy
		e.walk.add(e.path, stat, info.IsDir())
	} else {
		e.walk.odd = true
	}
	return info, nil
}

// add enters what BuildKit compares (fsutil's Stat), and the inode and the time of its last change, which nobody can set.
// The times of folders are left out, as BuildKit does: their entries tell more.
func (w *walk) add(path string, s *types.Stat, dir bool) {
	fmt.Fprintf(w.sum, "file %q %o %d:%d %q", path, s.Mode, s.Devmajor, s.Devminor, s.Linkname)
	for _, key := range slices.Sorted(maps.Keys(s.Xattrs)) {
		fmt.Fprintf(w.sum, " %q=%q", key, s.Xattrs[key])
	}
	if !dir {
		fmt.Fprintf(w.sum, " %d %d", s.Size, s.ModTime)
		var now syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(w.root, path), &now); err != nil {
			w.odd = true
			return
		}
		changed := time.Unix(now.Ctim.Unix())
		fmt.Fprintf(w.sum, " %d:%d %d", now.Dev, now.Ino, changed.UnixNano())
		w.age = min(w.age, w.began.Sub(changed))
	}
	_, _ = w.sum.Write([]byte{'\n'}) // a hash takes everything
}

// Open reads a file. BuildKit looks into Dockerfiles and .dockerignore each time, whatever their metadata say: the texts of
// files that lie where those do are remembered, too.
func (f *watchedFolder) Open(name string) (io.ReadCloser, error) {
	r, err := f.FS.Open(name)
	if clean := strings.Trim(filepath.Clean(name), "/"); err == nil && !strings.Contains(clean, "/") {
		return &textReader{ReadCloser: r, folder: f, name: clean, sum: sha256.New()}, nil
	}
	return r, err
}

// textReader sums up a file that is read to its end.
type textReader struct {
	io.ReadCloser
	folder *watchedFolder
	name   string
	sum    hash.Hash
	size   int
}

func (t *textReader) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if t.size <= maxDockerfile {
		_, _ = t.sum.Write(p[:n]) // a hash takes everything
	}
	t.size += n
	if errors.Is(err, io.EOF) && t.size <= maxDockerfile {
		t.folder.read(t.name, digest.NewDigest(digest.SHA256, t.sum))
	}
	return n, err
}

func (f *watchedFolder) read(name string, text digest.Digest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen.texts == nil {
		f.seen.texts = map[string]digest.Digest{}
	}
	if old, ok := f.seen.texts[name]; ok && old != text {
		f.seen.odd = true
	}
	f.seen.texts[name] = text
}
