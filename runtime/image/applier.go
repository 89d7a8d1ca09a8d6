package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tutti/runtime/decompress"
	"tutti/runtime/image/unpack"
)

// applier unpacks layers into the folders of the overlay snapshotter. Other than containerd's own it runs no program to
// decompress, knows bzip2 and xz, and refuses what would unpack to too much.
type applier struct {
	content content.Provider
	root    string
	limits  *limits
}

// Apply unpacks one layer and returns what it was without compression; the caller compares the digest.
func (a *applier) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	var config diff.ApplyConfig
	for _, o := range opts {
		if err := o(ctx, desc, &config); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	folder, lower, err := layerFolder(mounts)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	blob, err := a.content.ReaderAt(ctx, desc)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("open layer %s: %w", desc.Digest, err)
	}
	defer blob.Close()
	in := &counter{r: content.NewReader(blob)}
	var r io.Reader = in
	if config.Progress != nil {
		r = &reported{in, config.Progress}
		defer func() { config.Progress(in.n) }()
	}
	plain, err := decompress.New(r)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("layer %s: %w", desc.Digest, err)
	}
	defer plain.Close()

	digester := digest.Canonical.Digester()
	next := newAhead(io.TeeReader(plain, digester.Hash())) // one processor decompresses while another one writes files
	defer next.Close()
	out := &counter{r: next}
	filter := layerFilter{budget: &budget{limits: *a.limits, root: a.root, size: blob.Size}}
	err = unpack.Layer(ctx, folder, out, unpack.Options{Lower: lower, Accept: filter.accept, Temp: TempDir(a.root)})
	if err == nil { // what follows the tar's end is part of what the digest is of, and may be without end
		rest := &budget{limits: *a.limits, root: a.root, size: blob.Size}
		_, err = io.Copy(io.Discard, rest.reader(out))
	}
	if err != nil {
		return ocispec.Descriptor{}, &layerError{desc.Digest, err}
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: out.n, Digest: digester.Digest()}, nil
}

// layerError is what is wrong with a layer.
type layerError struct {
	digest digest.Digest
	err    error
}

func (l *layerError) Error() string { return fmt.Sprintf("unpack layer %s: %v", l.digest, l.err) }
func (l *layerError) Unwrap() error { return l.err }

// cause is what went wrong with a layer, without the names of folders and keys that the way through containerd has put in
// front of it.
func cause(err error) error {
	if l, ok := errors.AsType[*layerError](err); ok {
		return l
	}
	return err
}

// layerFolder is where the snapshotter wants a layer, and the folders of those below it: none for the lowest, which comes as a
// bind.
func layerFolder(mounts []mount.Mount) (folder string, lower []string, err error) {
	if len(mounts) == 1 {
		switch m := mounts[0]; m.Type {
		case "bind", "rbind":
			return m.Source, nil, nil
		case "overlay":
			for _, o := range m.Options {
				if v, ok := strings.CutPrefix(o, "upperdir="); ok {
					folder = v
				} else if v, ok := strings.CutPrefix(o, "lowerdir="); ok {
					lower = strings.Split(v, ":")
				}
			}
		}
	}
	if folder == "" {
		return "", nil, fmt.Errorf("no folder for the layer in the mounts %v", mounts)
	}
	return folder, lower, nil
}

// reported tells how much has been read before it reads on.
type reported struct {
	*counter
	report func(int64)
}

func (r *reported) Read(p []byte) (int, error) {
	r.report(r.n)
	return r.counter.Read(p)
}
