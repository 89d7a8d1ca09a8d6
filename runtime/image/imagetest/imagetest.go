// Package imagetest writes image archives for tests: small images made from values,
// so that no registry and no Docker is needed.
package imagetest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// File is an entry of a layer. A path with a slash at its end is a folder.
type File struct {
	Path string
	Body string
	Link string // symbolic link to this target
	Mode int64  // default: 0755 for folders, 0644 for files
}

// Image describes an image. Created is fixed unless set, so that the same values
// give the same digests.
type Image struct {
	Names   []string
	Arch    string // default: the host's
	Created time.Time
	Config  dockerspec.DockerOCIImageConfig
	Layers  [][]File // bottom first
}

// Busybox is an image with the host's static busybox (Debian: busybox-static) and
// links for the applets that tests use.
func Busybox(names ...string) (Image, error) {
	binary, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return Image{}, fmt.Errorf("static busybox is needed (Debian: busybox-static): %w", err)
	}
	files := []File{
		{Path: "bin/"},
		{Path: "etc/"},
		{Path: "tmp/", Mode: 0o1777},
		{Path: "root/", Mode: 0o700},
		{Path: "bin/busybox", Body: string(binary), Mode: 0o755},
		{Path: "etc/passwd", Body: "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
		{Path: "etc/group", Body: "root:x:0:\nnogroup:x:65534:\n"},
	}
	for applet := range strings.FieldsSeq("sh cat echo ls mkdir touch rm cp mv sleep id env date sync stat grep wc true false mount umount ip ping hostname sed nc tail head seq test find chmod chown readlink pwd wget httpd ps kill") {
		files = append(files, File{Path: "bin/" + applet, Link: "busybox"})
	}
	image := Image{Names: names, Layers: [][]File{files}}
	image.Config.Env = []string{"PATH=/bin"}
	image.Config.Cmd = []string{"sh"}
	return image, nil
}

// DockerArchive writes what "docker save" of Docker before 25 writes.
func DockerArchive(w io.Writer, images ...Image) error {
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var manifest []entry
	out := tar.NewWriter(w)
	for _, image := range images {
		config, layers, err := image.encode()
		if err != nil {
			return err
		}
		e := entry{Config: hexDigest(config) + ".json", RepoTags: image.Names}
		if err := writeFile(out, e.Config, config); err != nil {
			return err
		}
		for _, layer := range layers {
			name := hexDigest(layer) + "/layer.tar"
			e.Layers = append(e.Layers, name)
			if err := writeFile(out, name, layer); err != nil {
				return err
			}
		}
		manifest = append(manifest, e)
	}
	if err := writeJSON(out, "manifest.json", manifest); err != nil {
		return err
	}
	return out.Close()
}

// OCIArchive writes an OCI image layout with one index entry for each name. Names
// are annotations as "docker save" of newer versions writes them.
func OCIArchive(w io.Writer, images ...Image) error {
	out := tar.NewWriter(w)
	blob := func(mediaType string, data []byte) (ocispec.Descriptor, error) {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
		return d, writeFile(out, "blobs/sha256/"+d.Digest.Encoded(), data)
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, image := range images {
		desc, err := image.writeOCI(blob)
		if err != nil {
			return err
		}
		if len(image.Names) == 0 {
			index.Manifests = append(index.Manifests, desc)
		}
		for _, name := range image.Names {
			desc.Annotations = map[string]string{"io.containerd.image.name": name}
			index.Manifests = append(index.Manifests, desc)
		}
	}
	if err := writeJSON(out, ocispec.ImageIndexFile, index); err != nil {
		return err
	}
	if err := writeJSON(out, ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}); err != nil {
		return err
	}
	return out.Close()
}

func (i Image) writeOCI(blob func(string, []byte) (ocispec.Descriptor, error)) (ocispec.Descriptor, error) {
	config, layers, err := i.encode()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	if manifest.Config, err = blob(ocispec.MediaTypeImageConfig, config); err != nil {
		return ocispec.Descriptor{}, err
	}
	for _, layer := range layers {
		desc, err := blob(ocispec.MediaTypeImageLayer, layer)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		manifest.Layers = append(manifest.Layers, desc)
	}
	data, err := json.Marshal(manifest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return blob(ocispec.MediaTypeImageManifest, data)
}

// encode makes the configuration and the layer tars.
func (i Image) encode() (config []byte, layers [][]byte, err error) {
	spec := dockerspec.DockerOCIImage{Config: i.Config}
	spec.OS, spec.Architecture = "linux", i.Arch
	if spec.Architecture == "" {
		spec.Architecture = runtime.GOARCH
	}
	if i.Created.IsZero() {
		i.Created = time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	}
	spec.Created = &i.Created
	spec.RootFS.Type = "layers"
	for _, files := range i.Layers {
		layer, err := Layer(files...)
		if err != nil {
			return nil, nil, err
		}
		layers = append(layers, layer)
		spec.RootFS.DiffIDs = append(spec.RootFS.DiffIDs, digest.FromBytes(layer))
	}
	config, err = json.Marshal(spec)
	return config, layers, err
}

// Layer is a tar of the files.
func Layer(files ...File) ([]byte, error) {
	var buffer bytes.Buffer
	out := tar.NewWriter(&buffer)
	for _, f := range files {
		header := tar.Header{Name: f.Path, Mode: f.Mode, Size: int64(len(f.Body)), Typeflag: tar.TypeReg, ModTime: time.Unix(1700000000, 0)}
		switch {
		case f.Link != "":
			header.Typeflag, header.Linkname = tar.TypeSymlink, f.Link
		case strings.HasSuffix(f.Path, "/"):
			header.Typeflag = tar.TypeDir
		}
		if header.Mode == 0 {
			header.Mode = 0o644
			if header.Typeflag == tar.TypeDir {
				header.Mode = 0o755
			}
		}
		if err := out.WriteHeader(&header); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(out, f.Body); err != nil {
			return nil, err
		}
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

func writeJSON(out *tar.Writer, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFile(out, name, data)
}

func writeFile(out *tar.Writer, name string, data []byte) error {
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := out.Write(data)
	return err
}

func hexDigest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
