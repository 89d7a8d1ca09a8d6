package image

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// hostileParts are registries whose manifests, configurations and layers are made to harm who reads them.
var hostileParts = map[string]hostileCase{
	"a schema 1 manifest": {handler: onAll(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
		_, _ = w.Write([]byte(`{"schemaVersion":1,"fsLayers":[{"blobSum":"sha256:00"}],"history":[{"v1Compatibility":"{}"}]}`))
	}), want: "no longer supported"},
	"a length that is too small": {handler: onLayer(func(w http.ResponseWriter, _ *http.Request, body []byte) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write(body[:10])
	}), want: "EOF"},
	"a length that is not kept": {handler: onLayer(func(w http.ResponseWriter, _ *http.Request, body []byte) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:10])
		panic(http.ErrAbortHandler)
	}), want: "EOF"},
	"a bomb of annotations": {handler: mutated(func(m *ocispec.Manifest) {
		m.Annotations = map[string]string{}
		for i := range 250_000 {
			m.Annotations[strconv.Itoa(i)] = ""
		}
	}), want: "values"},
	"a bomb of labels": {handler: func(t *testing.T) http.Handler {
		c := newCraft(t, nil)
		labels := strings.Repeat(`"a":"",`, 250_000) + `"b":""`
		config := c.add(ocispec.MediaTypeImageConfig, []byte(`{"os":"linux","architecture":"`+runtime.GOARCH+`","config":{"Labels":{`+labels+`}},"rootfs":{"type":"layers","diff_ids":[]}}`))
		c.tag = c.json(ocispec.MediaTypeImageManifest, ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{}}).Digest
		return c
	}, want: "values"},
	"a zstd window of 1 GiB": {handler: func(t *testing.T) http.Handler {
		c := newCraft(t, nil)
		// Magic, a frame header without a single segment, and the window's descriptor: 2^(10+20) bytes (RFC 8878, 3.1.1.1).
		body := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x01, 0x00, 0x00}, make([]byte, 100)...)
		layer := c.add(ocispec.MediaTypeImageLayerZstd, body)
		config := c.add(ocispec.MediaTypeImageConfig, []byte(`{"os":"linux","architecture":"`+runtime.GOARCH+`","rootfs":{"type":"layers","diff_ids":["`+digest.FromString("x").String()+`"]}}`))
		c.tag = c.json(ocispec.MediaTypeImageManifest, ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layer}}).Digest
		return c
	}, want: "window"},
	"an index of itself": {handler: func(t *testing.T) http.Handler {
		c := newCraft(t, nil)
		d := c.index(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString("itself"), Size: 100})
		c.blobs[digest.FromString("itself")], c.types[digest.FromString("itself")] = c.blobs[d.Digest], ocispec.MediaTypeImageIndex
		return c
	}, want: "more than the 100 bytes"},
}
