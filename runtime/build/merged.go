package build

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// layers are the folders of an overlay, topmost first: its merged content can be
// looked at without mounting it. See the kernel's overlayfs.rst for the rules.
type layers []string

// layersOf reads them from a mount's options; upper is where writes land. A bind
// mount is a single layer.
func layersOf(m mount.Mount) (all layers, upper string) {
	if m.Type != "overlay" {
		return layers{m.Source}, m.Source
	}
	for _, option := range m.Options {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "upperdir":
			upper = value
		case "lowerdir":
			all = append(all, strings.Split(value, ":")...)
		}
	}
	if upper != "" {
		all = append(layers{upper}, all...)
	}
	return all, upper
}

// maxLinks bounds the symbolic links that are followed in one path, as in the kernel.
const maxLinks = 40

// missing follows a path inside the layers. When nothing is there it returns where
// it would be, with all links resolved and without a leading slash, and true.
func (l layers) missing(name string) (string, bool) {
	var done string // resolved so far
	dirs := l
	rest := strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		children, leaf := dirs.child(part)
		if leaf != "" {
			target, err := os.Readlink(leaf)
			if links++; err != nil || links > maxLinks {
				return "", false // a file, or links without end
			}
			if !path.IsAbs(target) {
				target = path.Join("/", done, target)
			}
			again := path.Join("/", target, path.Join(rest...))
			done, dirs, rest = "", l, strings.Split(strings.Trim(again, "/"), "/")
			if again == "/" {
				return "", false
			}
			continue
		}
		if len(children) == 0 {
			return path.Join(done, part, path.Join(rest...)), true
		}
		done, dirs = path.Join(done, part), children
	}
	return "", false
}

// child finds an entry in merged folders: the folders that make it up, or the one
// file that it is; neither when it does not exist.
func (l layers) child(name string) (dirs layers, leaf string) {
	for _, dir := range l {
		file := filepath.Join(dir, name)
		info, err := os.Lstat(file)
		switch {
		case err != nil:
			continue
		case info.IsDir():
			dirs = append(dirs, file)
			if isOpaque(file) {
				return dirs, ""
			}
		case len(dirs) > 0 || isWhiteout(info):
			return dirs, ""
		default:
			return nil, file
		}
	}
	return dirs, ""
}

// isWhiteout recognises the device 0:0, which hides an entry of the layers below.
func isWhiteout(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && stat.Rdev == 0
}

// isOpaque recognises a folder that hides the folders below it.
func isOpaque(dir string) bool {
	value := make([]byte, 1)
	n, err := unix.Lgetxattr(dir, "trusted.overlay.opaque", value)
	return err == nil && n == 1 && value[0] == 'y'
}
