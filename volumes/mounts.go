package volumes

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Type is the kind of a [Mount], in compose's words.
type Type string

// Kinds of mounts.
const (
	TypeVolume Type = "volume"
	TypeBind   Type = "bind"
	TypeTmpfs  Type = "tmpfs"
	TypeImage  Type = "image" // the caller's to mount
)

// Mount is what a container wants mounted.
type Mount struct {
	Type     Type
	Source   string // the volume's name, or an absolute path of the host
	Target   string // absolute path in the container
	ReadOnly bool

	// Volumes.
	Subpath string // a folder that exists in the volume is mounted instead of all of it
	NoCopy  bool   // the volume is not filled from the image, see Fill

	// Binds.
	CreateHostPath bool // a missing source becomes a folder that root owns, as with docker
	// Propagation is private, rprivate (the default), slave, rslave, shared or rshared.
	Propagation string
	// Recursive is what happens to mounts below the source: enabled (the default: they
	// come along, read-only too where the kernel can do that, 5.12), disabled (they do not),
	// writable (they come along and stay writable), readonly (an error where the kernel cannot).
	Recursive string

	// Tmpfs.
	Size    int64    // bytes, 0: the kernel's default, half of the memory
	Mode    uint32   // permission bits, 0: the kernel's default, 01777
	Options []string // of the short form, such as "size=64m", "exec", "uid=1000"
}

// ErrMount is returned for mounts that cannot be made as wanted.
var ErrMount = errors.New("invalid mount")

// Mounts makes the mounts of a runtime spec, parents before what is mounted inside
// them. Sources of binds are real paths without symlinks at the time of the call, so
// that init may open them with RESOLVE_NO_SYMLINKS; see also [Store.Verify].
func (s *Store) Mounts(ctx context.Context, wanted []Mount) ([]specs.Mount, error) {
	list := make([]specs.Mount, 0, len(wanted))
	seen := map[string]bool{}
	for _, w := range wanted {
		target, err := cleanTarget(w.Target)
		if err != nil {
			return nil, err
		}
		if seen[target] {
			return nil, fmt.Errorf("%w: two mounts on %s: remove one", ErrMount, target)
		}
		seen[target] = true
		w.Target = target
		var m specs.Mount
		switch w.Type {
		case TypeVolume:
			m, err = s.volumeMount(ctx, w)
		case TypeBind:
			m, err = s.bindMount(w)
		case TypeTmpfs:
			m, err = tmpfsMount(w)
		default:
			err = fmt.Errorf("%w on %s: type %q is not supported: use volume, bind or tmpfs", ErrMount, target, w.Type)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	Sort(list)
	return list, nil
}

// Sort orders mounts so that each comes behind those that it lies in. The order of
// mounts of the same depth is kept.
func Sort(mounts []specs.Mount) {
	slices.SortStableFunc(mounts, func(a, b specs.Mount) int {
		return depth(a.Destination) - depth(b.Destination)
	})
}

func depth(target string) int {
	if target = path.Clean(target); target == "/" {
		return 0
	}
	return strings.Count(target, "/")
}

func cleanTarget(target string) (string, error) {
	clean := path.Clean(target)
	if !path.IsAbs(target) || clean == "/" || strings.ContainsRune(target, 0) {
		return "", fmt.Errorf("%w: target %q: use an absolute path other than /", ErrMount, target)
	}
	return clean, nil
}

// Fill runs [Store.PopulateLayers] for each volume among the mounts of a container
// that is to be filled from its image. Volumes of which only a folder is mounted are left as they are.
func (s *Store) Fill(ctx context.Context, wanted []Mount, layers []string) error {
	for _, w := range wanted {
		if w.Type != TypeVolume || w.NoCopy || w.Subpath != "" {
			continue
		}
		v, err := s.Get(w.Source)
		if err != nil {
			return err
		}
		if err := s.PopulateLayers(ctx, v, layers, w.Target); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) volumeMount(ctx context.Context, w Mount) (specs.Mount, error) {
	v, err := s.Get(w.Source)
	if err != nil {
		return specs.Mount{}, err
	}
	data, ok := v.dataPath()
	if !ok {
		if w.Subpath != "" {
			return specs.Mount{}, fmt.Errorf("%w on %s: subpath of volume %q: not possible with driver_opts type %q, which only the container mounts",
				ErrMount, w.Target, w.Source, v.DriverOpts[optType])
		}
		return v.deviceMount(ctx, w.Target, w.ReadOnly)
	}
	source, err := realFolder(data, w.Subpath)
	if err != nil {
		return specs.Mount{}, fmt.Errorf("%w on %s: %s: %w", ErrMount, w.Target, describe(v, data, w.Subpath), err)
	}
	options, err := bindOptions(w, source)
	if err != nil {
		return specs.Mount{}, err
	}
	for _, o := range v.mountOptions() { // of o=bind,...
		if o != "bind" && o != "rbind" && o != "rw" && !slices.Contains(options, o) {
			options = append(options, o)
		}
	}
	return specs.Mount{Destination: w.Target, Type: "bind", Source: source, Options: options}, nil
}

func describe(v Volume, data, subpath string) string {
	switch {
	case subpath != "":
		return fmt.Sprintf("subpath %q of volume %q must be a folder or file in it", subpath, v.Name)
	case !v.isPlain():
		return fmt.Sprintf("the folder %s of volume %q (driver_opts device) must exist", data, v.Name)
	default:
		return fmt.Sprintf("the data of volume %q", v.Name)
	}
}

// realFolder opens what is to be mounted and returns its real path. A subpath
// never leads out of the folder.
func realFolder(dir, subpath string) (string, error) {
	f, err := openDir(dir)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // read only
	if subpath != "" {
		if path.IsAbs(subpath) || slices.Contains(strings.Split(subpath, "/"), "..") {
			return "", errors.New("use a relative path that has no '..' in it")
		}
		sub, err := openBeneath(f, subpath, unix.O_PATH)
		if errors.Is(err, unix.EXDEV) {
			return "", errors.New("a symlink leads out of it")
		}
		if err != nil {
			return "", err
		}
		defer sub.Close() //nolint:errcheck // a path only
		f = sub
	}
	return realPath(f)
}
