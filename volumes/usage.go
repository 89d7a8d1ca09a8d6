package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Usage is the sum of the sizes of all files of a volume in bytes, those with several
// names counted once, as `docker system df` counts. Volumes whose data is not in the
// store take 0.
func (s *Store) Usage(ctx context.Context, name string) (int64, error) {
	v, err := s.Get(name)
	if err != nil || !v.isPlain() {
		return 0, err
	}
	total, err := TreeUsage(ctx, v.Path)
	if err != nil {
		return 0, fmt.Errorf("volume %q: %w", name, err)
	}
	return total, nil
}

type usage struct {
	total int64
	links map[inode]bool
}

// add walks a directory that containers may be changing: what vanished is passed over.
func (u *usage) add(ctx context.Context, dir *os.File, depth int) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			u.count(&st)
			continue
		}
		if err := u.enter(ctx, dir, name, depth); err != nil {
			return err
		}
	}
	return nil
}

func (u *usage) count(st *unix.Stat_t) {
	if st.Nlink > 1 {
		id := inode{st.Dev, st.Ino}
		if u.links[id] {
			return
		}
		u.links[id] = true
	}
	u.total += st.Size
}

func (u *usage) enter(ctx context.Context, dir *os.File, name string, depth int) error {
	if depth == maxDepth {
		return errors.New("directories are nested too deep")
	}
	sub, err := openDirAt(dir, name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer sub.Close() //nolint:errcheck // read only
	return u.add(ctx, sub, depth+1)
}

// TreeUsage is the sum of the sizes of all files below a folder, counted as [Store.Usage] counts. A folder that is gone
// takes 0.
func TreeUsage(ctx context.Context, path string) (int64, error) {
	dir, err := openDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", path, err)
	}
	defer dir.Close() //nolint:errcheck // read only
	u := usage{links: map[inode]bool{}}
	if err := u.add(ctx, dir, 0); err != nil {
		return 0, fmt.Errorf("size of %s: %w", path, err)
	}
	return u.total, nil
}
