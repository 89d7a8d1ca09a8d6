package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"tutti/runtime/image/compare"
)

// FaultFiles is the kind of fault that VerifyFiles finds.
const FaultFiles = "layer-files"

// maxNamed is how many files of a layer a fault names.
const maxNamed = 3

// VerifyFiles compares the files of each unpacked layer of an image with the layer's content, by unpacking that once more
// into a folder for temporary files: it takes time, and room for the largest layer. Layers whose content is lost, which
// Verify tells, are left out, and so are those on top of one that is not right, until that is repaired. users names the running containers of an image, by its ID.
//
// To repair a layer is to put the new folder in the place of the old one, in one step. It is refused while containers run
// that have the layer, since the kernel does not let a file system be changed below an overlay, and while something is
// pulled, loaded or built.
func (s *Store) VerifyFiles(ctx context.Context, users func(id string) []string) ([]Fault, int, error) {
	ctx, release, err := s.lease(scope(ctx))
	if err != nil {
		return nil, 0, err
	}
	faults, looked, err := s.verifyFiles(ctx, users)
	return faults, looked, joinRelease(err, release)
}

func (s *Store) verifyFiles(ctx context.Context, users func(id string) []string) (faults []Fault, looked int, err error) {
	layers, err := s.unpackedLayers(ctx)
	if err != nil {
		return nil, 0, err
	}
	faulty := map[string]bool{} // folders
	for _, l := range layers {
		if slices.ContainsFunc(l.lower, func(folder string) bool { return faulty[folder] }) {
			continue // what it should be depends on those below
		}
		differences, err := s.compareLayer(ctx, l)
		if errdefs.IsNotFound(err) || errors.Is(err, os.ErrNotExist) {
			continue // removed meanwhile, or lost, which is another fault
		}
		if err != nil {
			return faults, looked, fmt.Errorf("compare layer %s with its content: %w", l.chain, err)
		}
		looked++
		if len(differences) > 0 {
			faulty[l.folder] = true
			faults = append(faults, s.filesFault(l, differences, users))
		}
	}
	return faults, looked, nil
}

// unpackedLayer is a layer of one or more images.
type unpackedLayer struct {
	chain  string
	diff   digest.Digest // of the layer without compression
	blob   ocispec.Descriptor
	lower  []string // folders below it, topmost first
	folder string
	images []Image
}

// unpackedLayers are the layers of all images, those below before those on top. The context's lease keeps them.
func (s *Store) unpackedLayers(ctx context.Context) ([]*unpackedLayer, error) {
	list, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	var layers []*unpackedLayer
	known := map[string]*unpackedLayer{}
	for _, image := range list {
		if err := s.hold(ctx, image); err != nil {
			return nil, err
		}
		var manifest ocispec.Manifest
		if err := s.readJSON(ctx, image.manifest, maxManifest, &manifest); err != nil || len(manifest.Layers) != len(image.Layers) {
			continue // which Verify tells
		}
		for i, chain := range identity.ChainIDs(slices.Clone(image.Layers)) {
			if l := known[chain.String()]; l != nil {
				l.images = append(l.images, image)
				continue
			}
			folders, err := s.layerFolders(ctx, chain.String())
			if errdefs.IsNotFound(err) {
				break
			}
			if err != nil {
				return nil, err
			}
			l := &unpackedLayer{chain: chain.String(), diff: image.Layers[i], blob: manifest.Layers[i], folder: folders[0], lower: folders[1:], images: []Image{image}}
			known[l.chain] = l
			layers = append(layers, l)
		}
	}
	return layers, nil
}

// hold keeps an image's content and layers for as long as the context's lease.
func (s *Store) hold(ctx context.Context, image Image) error {
	id, _ := leases.FromContext(ctx)
	for _, r := range []leases.Resource{{ID: image.target.Digest.String(), Type: "content"}, {ID: image.chainID(), Type: "snapshots/" + snapshotterName}} {
		err := s.leases.AddResource(ctx, leases.Lease{ID: id}, r)
		if err != nil && r.ID != "" && !errdefs.IsNotFound(err) && !errdefs.IsAlreadyExists(err) {
			return fmt.Errorf("hold image %s: %w", image.ID, err)
		}
	}
	return nil
}

// compareLayer unpacks a layer again and says what is not the same.
func (s *Store) compareLayer(ctx context.Context, l *unpackedLayer) (found []compare.Difference, err error) {
	err = s.withFresh(ctx, l, func(fresh string) error {
		return compare.Layers(ctx, l.folder, fresh, l.lower, func(d compare.Difference) error {
			found = append(found, d)
			if len(found) > 100*maxNamed { // it is all wrong
				return errEnough
			}
			return nil
		})
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return found, err
}

var errEnough = errors.New("enough differences")

// withFresh unpacks a layer into a new folder, which is removed in the end.
func (s *Store) withFresh(ctx context.Context, l *unpackedLayer, use func(folder string) error) (err error) {
	parent, err := os.MkdirTemp(TempDir(s.root), "layer-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(parent)) }()
	fresh := filepath.Join(parent, "fs")
	if err := os.Mkdir(fresh, 0o755); err != nil {
		return err
	}
	mounts := []mount.Mount{{Type: "bind", Source: fresh}}
	if len(l.lower) > 0 {
		mounts = []mount.Mount{{Type: "overlay", Options: []string{"upperdir=" + fresh, "lowerdir=" + strings.Join(l.lower, ":")}}}
	}
	a := applier{content: s.content, root: s.root, limits: &s.limits}
	applied, err := a.Apply(ctx, l.blob, mounts)
	if err != nil {
		return s.Room(err, 0)
	}
	if applied.Digest != l.diff {
		return fmt.Errorf("content %s is not what its digest says: %w", l.blob.Digest, errdefs.ErrNotFound)
	}
	return use(fresh)
}

func (s *Store) filesFault(l *unpackedLayer, differences []compare.Difference, users func(id string) []string) Fault {
	var told []string
	for _, d := range differences[:min(maxNamed, len(differences))] {
		told = append(told, d.Path+" "+d.Problem)
	}
	if more := len(differences) - maxNamed; more > 0 {
		told = append(told, fmt.Sprintf("and %d more", more))
	}
	f := Fault{
		Kind: FaultFiles, Object: l.chain,
		Problem: fmt.Sprintf("layer's files in %s are not those of its content: %s: %s", l.folder, strings.Join(told, "; "), strings.Join(namesOf(l.images), ", ")),
		Remedy:  "unpack the layer again",
	}
	if running := l.running(users); len(running) > 0 {
		f.Remedy = "unpack the layer again, but not while containers run that have it"
		f.Hint = "stop " + strings.Join(running, ", ") + ", and run tutti system check --deep --repair"
	}
	f.Repair = func(ctx context.Context) error { return s.replaceLayer(scope(ctx), l, users) }
	return f
}

// running are the containers that have the layer and run.
func (l *unpackedLayer) running(users func(id string) []string) (all []string) {
	for _, image := range l.images {
		if users != nil {
			all = append(all, users(image.ID)...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// replaceLayer puts a layer that was unpacked anew in the place of one that is not right. The folder's own attributes, which
// no layer says, stay.
func (s *Store) replaceLayer(ctx context.Context, l *unpackedLayer, users func(id string) []string) error {
	return s.withFresh(ctx, l, func(fresh string) error {
		if running := l.running(users); len(running) > 0 {
			return fmt.Errorf("%w: containers run that have the layer: %s", ErrInUse, strings.Join(running, ", "))
		}
		if s.Busy() {
			return fmt.Errorf("%w: something is pulled, loaded or built that may have the layer", ErrInUse)
		}
		var st unix.Stat_t
		if err := unix.Lstat(l.folder, &st); err != nil {
			return fmt.Errorf("look at %s: %w", l.folder, err)
		}
		err := errors.Join(unix.Chown(fresh, int(st.Uid), int(st.Gid)), unix.Chmod(fresh, st.Mode&0o7777),
			unix.UtimesNanoAt(unix.AT_FDCWD, fresh, []unix.Timespec{st.Atim, st.Mtim}, 0))
		if err == nil {
			err = unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, l.folder, unix.RENAME_EXCHANGE)
		}
		if err != nil {
			return fmt.Errorf("replace the layer's folder %s: %w", l.folder, err)
		}
		return nil
	})
}
