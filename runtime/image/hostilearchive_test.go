package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// entry is a file of an archive under test.
type entry struct {
	name string
	data string
	tar.Header
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		h.Name = e.name
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(e.data))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jsonOf(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func configOf(t testing.TB, layers ...[]byte) string {
	t.Helper()
	var ids []digest.Digest
	for _, l := range layers {
		ids = append(ids, digest.FromBytes(l))
	}
	return jsonOf(t, map[string]any{"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"type": "layers", "diff_ids": ids}})
}

// dockerTar is a docker archive: its manifest.json, and files.
func dockerTar(t testing.TB, manifest any, files ...entry) []byte {
	t.Helper()
	return tarOf(t, append(files, entry{name: "manifest.json", data: jsonOf(t, manifest)})...)
}

type dockerEntry struct {
	Config   any
	RepoTags any
	Layers   any
}

// layered is a docker archive of one image with one layer, named evil:1.
func layered(t testing.TB, layer []byte) []byte {
	t.Helper()
	return dockerTar(t, []dockerEntry{{"c.json", []string{"evil:1"}, []string{"l.tar"}}},
		entry{name: "c.json", data: configOf(t, layer)}, entry{name: "l.tar", data: string(layer)})
}

// ociTar is an OCI layout: its index, and documents that go into blobs/ by their digest.
func ociTar(t testing.TB, index any, blobs ...string) []byte {
	t.Helper()
	files := []entry{{name: "oci-layout", data: `{"imageLayoutVersion":"1.0.0"}`}, {name: "index.json", data: jsonOf(t, index)}}
	for _, b := range blobs {
		files = append(files, entry{name: "blobs/sha256/" + digest.FromString(b).Encoded(), data: b})
	}
	return tarOf(t, files...)
}

func descriptor(mediaType, data string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(data), Size: int64(len(data))}
}

type indexOf struct {
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType,omitempty"`
	Manifests     []ocispec.Descriptor `json:"manifests"`
}

// hostileArchives are refused, each with an error that says why.
func hostileArchives(t testing.TB) map[string]struct {
	data []byte
	want string
} {
	t.Helper()
	small := tarOf(t, entry{name: "file", data: "text"})
	config := configOf(t, small)
	manifest := func(change func(*ocispec.Manifest)) string {
		m := ocispec.Manifest{
			MediaType: ocispec.MediaTypeImageManifest, Config: descriptor(ocispec.MediaTypeImageConfig, config),
			Layers: []ocispec.Descriptor{descriptor(ocispec.MediaTypeImageLayer, string(small))},
		}
		m.SchemaVersion = 2
		if change != nil {
			change(&m)
		}
		return jsonOf(t, m)
	}
	good := manifest(nil)
	ofManifest := func(m string) []byte {
		return ociTar(t, indexOf{SchemaVersion: 2, Manifests: []ocispec.Descriptor{descriptor(ocispec.MediaTypeImageManifest, m)}}, m, config, string(small))
	}
	nested := func(depth, width int) []byte {
		blobs, child := []string{good, config, string(small)}, descriptor(ocispec.MediaTypeImageManifest, good)
		for range depth {
			index := indexOf{SchemaVersion: 2, MediaType: ocispec.MediaTypeImageIndex, Manifests: slices.Repeat([]ocispec.Descriptor{child}, width)}
			text := jsonOf(t, index)
			blobs, child = append(blobs, text), descriptor(ocispec.MediaTypeImageIndex, text)
		}
		return ociTar(t, indexOf{SchemaVersion: 2, Manifests: []ocispec.Descriptor{child}}, blobs...)
	}
	wrongConfig := func(config string) []byte {
		return dockerTar(t, []dockerEntry{{"c.json", []string{"evil:1"}, []string{"l.tar"}}}, entry{name: "c.json", data: config}, entry{name: "l.tar", data: string(small)})
	}
	link := func(name, to string) entry {
		return entry{name: name, Header: tar.Header{Typeflag: tar.TypeSymlink, Linkname: to}}
	}
	whole := layered(t, small)
	type refusal = struct {
		data []byte
		want string
	}
	return map[string]refusal{
		"empty":                    {nil, "neither index.json with oci-layout nor manifest.json"},
		"no tar":                   {bytes.Repeat([]byte("text "), 1000), "no tar archive"},
		"a root file system":       {small, "for a root file system use import"},
		"cut off in a file":        {whole[:600], "cut off"},
		"cut off gzip":             {gzipped(t, whole)[:200], "cut off"},
		"garbage gzip":             {append([]byte{0x1f, 0x8b, 8}, bytes.Repeat([]byte{0xff}, 500)...), "gzip"},
		"garbage zstd":             {append([]byte{0x28, 0xb5, 0x2f, 0xfd}, bytes.Repeat([]byte{0xff}, 500)...), "zstd"},
		"garbage xz":               {append([]byte{0xfd, '7', 'z', 'X', 'Z', 0}, bytes.Repeat([]byte{0xff}, 500)...), "xz"},
		"garbage bzip2":            {append([]byte("BZh9"), bytes.Repeat([]byte{0xff}, 500)...), "bzip2"},
		"name with dots":           {tarOf(t, entry{name: "../../etc/passwd", data: "x"}), "leads out of the archive"},
		"absolute name":            {tarOf(t, entry{name: "/etc/passwd", data: "x"}), "leads out of the archive"},
		"long name":                {tarOf(t, entry{name: strings.Repeat("n/", 3000) + "n", data: "x"}), "too long"},
		"huge PAX header":          {hugeHeader(t), "too long"},
		"too many files":           {tarOf(t, slices.Repeat([]entry{{name: "x"}}, 600)...), "more than 500 files"},
		"layer with dots":          {dockerTar(t, []dockerEntry{{"c.json", nil, []string{"../../etc/passwd"}}}, entry{name: "c.json", data: config}), "no file"},
		"layer link out":           {dockerTar(t, []dockerEntry{{"c.json", nil, []string{"l"}}}, entry{name: "c.json", data: config}, link("l", "../../etc/passwd")), "leads out of the archive"},
		"layer link absolute":      {dockerTar(t, []dockerEntry{{"c.json", nil, []string{"l"}}}, entry{name: "c.json", data: config}, link("l", "/etc/passwd")), "no file"},
		"layer links in a circle":  {dockerTar(t, []dockerEntry{{"c.json", nil, []string{"a"}}}, entry{name: "c.json", data: config}, link("a", "b"), link("b", "a")), "circle"},
		"layer missing":            {dockerTar(t, []dockerEntry{{"c.json", nil, []string{"no"}}}, entry{name: "c.json", data: config}), `no file "no"`},
		"config missing":           {dockerTar(t, []dockerEntry{{"no.json", nil, []string{}}}), `no file "no.json"`},
		"config of numbers":        {dockerTar(t, []dockerEntry{{1, nil, nil}}), "manifest.json"},
		"tags of numbers":          {dockerTar(t, []dockerEntry{{"c", []int{1}, nil}}), "manifest.json"},
		"manifest.json is a text":  {tarOf(t, entry{name: "manifest.json", data: "no JSON"}), "manifest.json"},
		"manifest.json is null":    {dockerTar(t, nil), "no image"},
		"manifest.json is huge":    {tarOf(t, entry{name: "manifest.json", data: "[" + strings.Repeat(" ", 9<<20) + "]"}), "too large"},
		"manifest.json of nothing": {tarOf(t, entry{name: "manifest.json", data: "[" + strings.Repeat("{},", 300_000) + "{}]"}), "values"},
		"bad name":                 {dockerTar(t, []dockerEntry{{"c.json", []string{"../UP:1"}, []string{"l.tar"}}}, entry{name: "c.json", data: config}, entry{name: "l.tar", data: string(small)}), "invalid image name"},
		"config is a list":         {wrongConfig("[]"), "parse"},
		"config of wrong types":    {wrongConfig(`{"config":{"Env":"A=b"},"rootfs":{"diff_ids":[]}}`), "parse"},
		"config entrypoint number": {wrongConfig(`{"config":{"Entrypoint":7}}`), "parse"},
		"config without layers":    {wrongConfig(`{"os":"linux","architecture":"amd64"}`), "is of 0 layers"},
		"config of bad digests":    {wrongConfig(`{"rootfs":{"diff_ids":["sha256:../../x"]}}`), "digest"},
		"config of sha512":         {wrongConfig(`{"rootfs":{"diff_ids":["` + digest.SHA512.FromString("x").String() + `"]}}`), "only sha256"},
		"config of another layer":  {wrongConfig(configOf(t, []byte("another"))), "wrong diff id"},
		"config is huge":           {wrongConfig(`{"x":"` + strings.Repeat("x", 17<<20) + `"}`), "too large"},
		"config of nothing":        {wrongConfig(`{"history":[` + strings.Repeat("{},", 300_000) + `{}]}`), "values"},
		"oci version":              {tarOf(t, entry{name: "oci-layout", data: `{"imageLayoutVersion":"9"}`}, entry{name: "index.json", data: "{}"}), "version"},
		"oci without index":        {tarOf(t, entry{name: "oci-layout", data: `{"imageLayoutVersion":"1.0.0"}`}), "no index.json"},
		"oci index of wrong types": {tarOf(t, entry{name: "oci-layout", data: `{"imageLayoutVersion":"1.0.0"}`}, entry{name: "index.json", data: `{"manifests":7}`}), "index.json"},
		"oci blob of another name": {tarOf(t, entry{name: "blobs/sha256/" + digest.FromString("a").Encoded(), data: "b"}), "not what its name says"},
		"oci blob of no digest":    {tarOf(t, entry{name: "blobs/sha256/../../x/y", data: "b"}, entry{name: "blobs/md5/abc", data: "b"}), "digest"},
		"oci size":                 {ofManifest(manifest(func(m *ocispec.Manifest) { m.Layers[0].Size++ })), "not the"},
		"oci negative size":        {ofManifest(manifest(func(m *ocispec.Manifest) { m.Config.Size = -1 })), "not the"},
		"oci layer missing":        {ofManifest(manifest(func(m *ocispec.Manifest) { m.Layers[0].Digest = digest.FromString("no") })), "has no sha256"},
		"oci layer twice":          {ofManifest(manifest(func(m *ocispec.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) })), "is of 1 layers, the image has 2"},
		"oci config is a layer":    {ofManifest(manifest(func(m *ocispec.Manifest) { m.Config = m.Layers[0] })), "parse"},
		"oci manifest of layers":   {ofManifest(manifest(func(m *ocispec.Manifest) { m.Layers = slices.Repeat(m.Layers, 5000) })), "more than 4000"},
		"oci type":                 {ociTar(t, indexOf{SchemaVersion: 2, Manifests: []ocispec.Descriptor{descriptor("text/plain", good)}}, good), "not an image"},
		"oci manifest missing":     {ociTar(t, indexOf{SchemaVersion: 2, Manifests: []ocispec.Descriptor{descriptor(ocispec.MediaTypeImageManifest, good)}}), "has no sha256"},
		"oci bad name":             {ociTar(t, indexOf{SchemaVersion: 2, Manifests: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(good), Size: int64(len(good)), Annotations: map[string]string{"io.containerd.image.name": "A B"}}}}, good, config, string(small)), "invalid image name"},
		"oci nested deep":          {nested(6, 1), "nested too deep"},
		"oci nested wide":          {nested(2, 200), "more than 4000"},
		"layer of text":            {layered(t, []byte("this is no tar archive, but a text that goes on for a while")), "layer"},
		"layer whiteout of root":   {layered(t, tarOf(t, entry{name: ".wh."})), ".wh."},
		"layer whiteout out":       {layered(t, tarOf(t, entry{name: "a/.wh..."})), ".wh"},
		"layer link to nothing":    {layered(t, tarOf(t, entry{name: "x", Header: tar.Header{Typeflag: tar.TypeLink, Linkname: "no/such"}})), "no such file"},
		"layer file on a file":     {layered(t, tarOf(t, entry{name: "x", data: "1"}, entry{name: "x/y", data: "2"})), "not a directory"},
		"layer links in a circle ": {layered(t, tarOf(t, link("a", "b"), link("b", "a"), entry{name: "a/new", data: "x"})), ""},
		"layer of many files":      {layered(t, tarOf(t, slices.Repeat([]entry{{name: "x"}}, 1100)...)), "more than 1000 files"},
		"layer sparse":             {layered(t, sparse(t, 100<<30)), "too large"},
		"layer bomb":               {layered(t, gzipped(t, tarOf(t, entry{name: "zeros", data: strings.Repeat("\x00", 40<<20)}))), "too large"},
		"layer bomb after the end": {layered(t, gzipped(t, append(slices.Clone(small), make([]byte, 40<<20)...))), "too large"},
		"archive bomb":             {gzipped(t, tarOf(t, entry{name: "zeros", data: strings.Repeat("\x00", 40<<20)})), "too large"},
		"archive sparse":           {sparse(t, 100<<30), "too large"},
	}
}

// sparse is a tar of one file in the PAX form of GNU's sparse files, version 1.0: all hole.
func sparse(t testing.TB, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	const segments = "0\n" // no data at all
	block := segments + strings.Repeat("\x00", 512-len(segments))
	// The writer refuses to write such records under their own names, so they are put into the archive afterwards.
	h := &tar.Header{Name: "s", Mode: 0o644, Size: int64(len(block)), Typeflag: tar.TypeReg, Format: tar.FormatPAX, PAXRecords: map[string]string{
		"GNX.sparse.major": "1", "GNX.sparse.minor": "0", "GNX.sparse.name": "s", "GNX.sparse.realsize": fmt.Sprint(size),
	}}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, block); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(b.Bytes(), []byte("GNX.sparse"), []byte("GNU.sparse"))
}

// hugeHeader is a tar with an extended header of 2 MiB.
func hugeHeader(t testing.TB) []byte {
	t.Helper()
	data := tarOf(t, entry{name: "x", data: strings.Repeat("z", 2<<20)})
	data[156] += 'x' - '0' // the type; and the checksum of the header (POSIX pax, ustar format)
	var sum int
	for i, c := range data[:512] {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int(c)
	}
	copy(data[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

// inStore lists what is in a store, without its databases.
func inStore(t testing.TB, s *Store) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !strings.HasSuffix(path, ".db") {
			list = append(list, strings.TrimPrefix(path, s.root))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A hostile archive is refused with an error that says why, and the store is as it was.
func TestImageHostileArchives(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	s.limits = limits{archiveEntries: 500, layerEntries: 1000, ratio: 10, floor: 30 << 20}
	fine := load(t, s, testImage("fine", "fine:1"))
	if err := s.GarbageCollect(t.Context()); err != nil { // the index of that archive
		t.Fatal(err)
	}
	before := inStore(t, s)
	for name, c := range hostileArchives(t) {
		_, err := s.Load(t.Context(), bytes.NewReader(c.data), LoadOptions{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && len(err.Error()) > 2000 {
			t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
		}
		if after := inStore(t, s); !slices.Equal(before, after) {
			t.Fatalf("%s: the store has changed:\n%q\n%q", name, before, after)
		}
	}
	records, err := s.records.List(t.Context())
	if err != nil || len(records) != 1 {
		t.Errorf("records: %v, %v", records, err)
	}
	if again, err := s.Get(t.Context(), "fine:1"); err != nil || again.ID != fine[0].ID {
		t.Errorf("the image that was there: %+v, %v", again, err)
	}
	if _, err := s.Create(t.Context(), New{Name: "x"}, func(w io.Writer) error {
		return s.Plain(w, bytes.NewReader(gzipped(t, make([]byte, 40<<20))))
	}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a bomb to import: %v", err)
	}
	if _, err := s.Create(t.Context(), New{Name: "x"}, func(w io.Writer) error { return s.Plain(w, strings.NewReader("no tar")) }); err == nil {
		t.Error("a text was imported")
	}
	if after := inStore(t, s); !slices.Equal(before, after) {
		t.Fatalf("after imports the store has changed:\n%q\n%q", before, after)
	}
}

// What only overlayfs may say is taken out of a layer, and entries that come twice are as the last one says.
func TestImageLayerAttributes(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	base := tarOf(t, entry{name: "dir/", Header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}}, entry{name: "dir/old", data: "old"})
	layer := tarOf(t,
		entry{name: "dir/", Header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.trusted.overlay.opaque": "y"}}},
		entry{name: "twice", data: "first"}, entry{name: "twice", data: "second"},
		entry{name: "dir/.wh.old"},
	)
	archive := dockerTar(t, []dockerEntry{{"c.json", []string{"a:1"}, []string{"0.tar", "1.tar"}}},
		entry{name: "c.json", data: configOf(t, base, layer)}, entry{name: "0.tar", data: string(base)}, entry{name: "1.tar", data: string(layer)})
	loaded, err := s.Load(t.Context(), bytes.NewReader(archive), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	folders, err := s.Lower(t.Context(), loaded[0])
	if err != nil {
		t.Fatal(err)
	}
	if names := attributesOf(t, filepath.Join(folders[0], "dir")); len(names) > 0 {
		t.Errorf("attributes of the folder: %q", names)
	}
	if text, err := os.ReadFile(filepath.Join(folders[0], "twice")); err != nil || string(text) != "second" {
		t.Errorf("the file that comes twice: %q, %v", text, err)
	}
	if st, err := os.Lstat(filepath.Join(folders[0], "dir/old")); err != nil || st.Mode()&os.ModeCharDevice == 0 {
		t.Errorf("the whiteout: %v, %v", st, err)
	}
}
