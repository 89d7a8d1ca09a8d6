package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// PopulateLayers is [Store.Populate] for an image given as its unpacked layers, the
// topmost first, as overlayfs takes them. Only when some layer has content at path
// (or a symlink or a whiteout on the way to it) they are mounted, read only, in a mount
// namespace of a thread that ends with the copy: the host's mount table never shows it,
// and a crash leaves nothing.
func (s *Store) PopulateLayers(ctx context.Context, v Volume, layers []string, path string) error {
	return s.populate(v, func(data *target) error {
		verdict, top, err := inspect(layers, path)
		if err != nil {
			return err
		}
		if top != nil {
			defer top.Close() //nolint:errcheck // read only
		}
		switch verdict {
		case absent:
			return nil
		case emptyFolder:
			return copyAttributes(data.data, top)
		case content:
		}
		if len(layers) == 1 { // overlayfs wants two
			root, err := openDir(layers[0])
			if err != nil {
				return err
			}
			defer root.Close() //nolint:errcheck // read only
			return data.fillFrom(ctx, root, path, true)
		}
		return withOverlay(layers, s.dir, func(root *os.File) error {
			return data.fillFrom(ctx, root, path, false)
		})
	})
}

// presence is what the layers together have at a path.
type presence int

const (
	absent presence = iota
	emptyFolder
	content // or anything that only overlayfs itself can tell
)

// inspect looks at one path in each layer. For an empty folder it returns the topmost
// one, whose attributes count.
func inspect(layers []string, name string) (p presence, top *os.File, err error) {
	defer func() {
		if p != emptyFolder && top != nil {
			_ = top.Close()
			top = nil
		}
	}()
	for _, layer := range layers {
		root, err := openDir(layer)
		if err != nil {
			return absent, top, err
		}
		dir, err := openPlain(root, name, unix.O_RDONLY|unix.O_DIRECTORY)
		_ = root.Close()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return content, top, nil //nolint:nilerr // a symlink, a file or a whiteout: not to be decided here
		}
		empty, err := isEmpty(dir)
		if err != nil || !empty || top != nil {
			_ = dir.Close()
		} else {
			top = dir
		}
		if err != nil {
			return absent, top, err
		}
		if !empty {
			return content, top, nil
		}
	}
	if top == nil {
		return absent, nil, nil
	}
	return emptyFolder, top, nil
}

// withOverlay runs f with the root of a read-only overlay of the layers, on a thread
// that has its own mount namespace and working directory and ends afterwards.
// mountpoint is any directory; only that thread sees it covered.
func withOverlay(layers []string, mountpoint string, f func(root *os.File) error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if unix.Gettid() != unix.Getpid() {
			done <- overlayOnThread(layers, mountpoint, f)
			return
		}
		// The process's first thread would not end but stay in the namespace:
		// hold it while another one does the work.
		defer runtime.UnlockOSThread()
		done <- withOverlay(layers, mountpoint, f)
	}()
	return <-done
}

func overlayOnThread(layers []string, mountpoint string, f func(root *os.File) error) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("new mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	base, lower := lowerOption(layers)
	if err := unix.Chdir(base); err != nil {
		return fmt.Errorf("enter %s: %w", base, err)
	}
	if err := unix.Mount("overlay", mountpoint, "overlay", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, lower); err != nil {
		return fmt.Errorf("mount %d layers of the image: %w", len(layers), err)
	}
	// Not left to the end of the thread: its namespace goes some time after it.
	defer unix.Unmount(mountpoint, unix.MNT_DETACH) //nolint:errcheck // see above
	root, err := openDir(mountpoint)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // read only
	return f(root)
}

// lowerOption makes the mount option, which must stay below a page, with paths
// relative to the folder that all layers have in common.
func lowerOption(layers []string) (base, option string) {
	base = path.Dir(layers[0])
	for _, layer := range layers[1:] {
		for !strings.HasPrefix(layer, strings.TrimSuffix(base, "/")+"/") {
			base = path.Dir(base)
		}
	}
	escape := strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`)
	relative := make([]string, len(layers))
	for i, layer := range layers {
		rel, err := filepath.Rel(base, layer)
		if err != nil {
			rel = layer // cannot be: both are absolute
		}
		relative[i] = escape.Replace(rel)
	}
	return base, "lowerdir=" + strings.Join(relative, ":")
}
