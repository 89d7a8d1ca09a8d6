package image

import (
	"bytes"
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxValues bounds the values in one JSON document: an empty one of three bytes takes hundreds in memory.
const maxValues = 200_000

// bounded is the content store for containerd's own code, which reads manifests and configurations into memory whatever
// their size: those that are larger than any image's are not given out.
type bounded struct{ content.Store }

func (b bounded) ReaderAt(ctx context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	blob, err := b.Store.ReaderAt(ctx, desc)
	if err != nil {
		return nil, err
	}
	limit := int64(maxManifest)
	switch {
	case images.IsConfigType(desc.MediaType):
		limit = maxConfig
	case !images.IsManifestType(desc.MediaType) && !images.IsIndexType(desc.MediaType):
		return blob, nil
	}
	if err := boundedJSON(blob, limit); err != nil {
		_ = blob.Close()
		return nil, fmt.Errorf("%s %s %w", desc.MediaType, desc.Digest, err)
	}
	return blob, nil
}

func boundedJSON(blob content.ReaderAt, limit int64) error {
	if blob.Size() > limit {
		return fmt.Errorf("is %w: %d bytes, more than %d", ErrTooLarge, blob.Size(), limit)
	}
	data := make([]byte, blob.Size())
	if n, err := blob.ReadAt(data, 0); n < len(data) {
		return fmt.Errorf("cannot be read: %w", err)
	}
	return checkValues(data)
}

// checkValues refuses a document with more values than an image's can have.
func checkValues(document []byte) error {
	if n := bytes.Count(document, []byte{','}); n > maxValues {
		return fmt.Errorf("is %w: more than %d values", ErrTooLarge, maxValues)
	}
	return nil
}
