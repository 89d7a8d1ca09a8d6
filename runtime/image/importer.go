package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tutti/runtime/decompress"
)

// dockerManifest is the file of a docker archive that lists its images (docker's image specification v1.2).
const dockerManifest = "manifest.json"

// maxPath bounds a name in an archive, as PATH_MAX does.
const maxPath = 4096

// importer reads an image archive into the content store (a transfer.ImageImporter). Nothing of the archive is believed:
// every name, size, digest and document is checked before anything is unpacked, and what the index of the archive says is
// written anew.
type importer struct {
	r      io.Reader
	root   string
	limits limits

	budget  budget
	session string                        // makes the names of its uploads its own
	blobs   map[string]ocispec.Descriptor // files of the archive by path
	links   map[string]string             // symbolic and hard links: path → path
	texts   map[string][]byte             // the files that say what the others are
	visited int
	uploads int
}

// Import stores the archive's files and returns the descriptor of an index of its images.
func (i *importer) Import(ctx context.Context, store content.Store) (_ ocispec.Descriptor, err error) {
	i.session = "load-" + rand.Text()
	i.blobs, i.links, i.texts = map[string]ocispec.Descriptor{}, map[string]string{}, map[string][]byte{}
	in := &counter{r: i.r}
	i.budget = budget{limits: i.limits, root: i.root, size: func() int64 { return in.n }}
	plain, err := decompress.New(in)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer plain.Close()
	if err := i.read(ctx, store, plain); err != nil {
		return ocispec.Descriptor{}, err
	}
	index, err := i.index(ctx, store)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return writeJSON(ctx, store, ocispec.MediaTypeImageIndex, index)
}

// read stores every file of the archive, for what they are is often told at its end.
func (i *importer) read(ctx context.Context, store content.Store, r io.Reader) error {
	archive := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return readError(err, n)
		}
		if n >= i.limits.archiveEntries {
			return fmt.Errorf("%w: more than %d files are no image archive", ErrTooLarge, i.limits.archiveEntries)
		}
		name, err := entryName(h.Name)
		if err == nil {
			err = i.entry(ctx, store, archive, h, name)
		}
		if err != nil {
			return fmt.Errorf("file %q: %w", shortened(h.Name), err)
		}
	}
}

func readError(err error, entries int) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the archive is cut off: %w", err)
	case errors.Is(err, tar.ErrHeader) && entries == 0:
		return errors.New("this is no tar archive")
	}
	return err
}

// entryName is a name of the archive without "./" and such. One that leads out of the archive is no name of a file in it.
func entryName(name string) (string, error) {
	clean := path.Clean(name)
	switch {
	case len(name) > maxPath:
		return "", errors.New("the name is too long")
	case clean == ".." || strings.HasPrefix(clean, "../") || path.IsAbs(clean):
		return "", errors.New("the name leads out of the archive")
	}
	return clean, nil
}

func (i *importer) entry(ctx context.Context, store content.Store, r io.Reader, h *tar.Header, name string) error {
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeSymlink:
		target, err := entryName(path.Join(path.Dir(name), h.Linkname))
		if err != nil {
			return fmt.Errorf("link to %q: %w", shortened(h.Linkname), err)
		}
		i.links[name] = target
		return nil
	case tar.TypeLink:
		target, err := entryName(h.Linkname)
		if err != nil {
			return fmt.Errorf("link to %q: %w", shortened(h.Linkname), err)
		}
		i.links[name] = target
		return nil
	default:
		return nil // folders, and what no image has
	}
	if err := i.budget.take(h.Size); err != nil {
		return err
	}
	switch name {
	case ocispec.ImageLayoutFile, ocispec.ImageIndexFile, dockerManifest:
		return i.text(r, h, name)
	}
	return i.blob(ctx, store, r, h, name)
}

func (i *importer) text(r io.Reader, h *tar.Header, name string) error {
	if h.Size > maxManifest {
		return fmt.Errorf("%w: %d bytes, more than %d", ErrTooLarge, h.Size, maxManifest)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return readError(err, 1)
	}
	if err := checkValues(data); err != nil {
		return fmt.Errorf("it %w", err)
	}
	i.texts[name] = data
	return nil
}

// blob stores a file. The name of one below blobs/ is its digest.
func (i *importer) blob(ctx context.Context, store content.Store, r io.Reader, h *tar.Header, name string) error {
	var want digest.Digest
	if algorithm, hex, ok := strings.Cut(strings.TrimPrefix(name, ocispec.ImageBlobsDir+"/"), "/"); ok && strings.HasPrefix(name, ocispec.ImageBlobsDir+"/") {
		want = digest.NewDigestFromEncoded(digest.Algorithm(algorithm), hex)
		if err := checkDigest(want); err != nil {
			return err
		}
	}
	have, err := i.store(ctx, store, r, h.Size)
	if err != nil {
		return err
	}
	if want != "" && have.Digest != want {
		return fmt.Errorf("its content is not what its name says: it has the digest %s", have.Digest)
	}
	i.blobs[name] = have
	return nil
}

// store writes a blob of that size, or of any if it is 0.
func (i *importer) store(ctx context.Context, store content.Store, r io.Reader, size int64) (ocispec.Descriptor, error) {
	i.uploads++
	ref := fmt.Sprintf("%s-%d", i.session, i.uploads)
	digester := digest.Canonical.Digester()
	in := &counter{r: io.TeeReader(r, digester.Hash())}
	err := content.WriteBlob(ctx, store, ref, in, ocispec.Descriptor{Size: size})
	if err != nil {
		if e := store.Abort(context.WithoutCancel(ctx), ref); e != nil && !errdefs.IsNotFound(e) {
			err = errors.Join(err, e)
		}
		return ocispec.Descriptor{}, readError(err, 1)
	}
	return ocispec.Descriptor{Digest: digester.Digest(), Size: in.n}, nil
}

// file finds what the archive has at a path, through links.
func (i *importer) file(name string) (ocispec.Descriptor, error) {
	at := path.Clean(name)
	for range 40 {
		if blob, ok := i.blobs[at]; ok {
			return blob, nil
		}
		next, ok := i.links[at]
		if !ok {
			return ocispec.Descriptor{}, fmt.Errorf("the archive has no file %q", shortened(name))
		}
		at = next
	}
	return ocispec.Descriptor{}, fmt.Errorf("file %q: links lead in a circle", shortened(name))
}

func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", shortened(d.String()), err)
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %q: only sha256 is supported", shortened(d.String()))
	}
	return nil
}

// writeJSON stores a document.
func writeJSON(ctx context.Context, store content.Store, mediaType string, v any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := content.WriteBlob(ctx, store, "write-"+desc.Digest.String(), bytes.NewReader(data), desc); err != nil {
		return desc, fmt.Errorf("store %s: %w", mediaType, err)
	}
	return desc, nil
}
