package compare

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

// imageFiles is an image as its archive has it.
type imageFiles struct {
	id     string
	config map[string]any
	tree   map[string]entry
	layers int
	tags   []string
}

// entry is a file of an image or a container.
type entry struct {
	kind     byte
	mode     int64
	uid, gid int
	link     string
	content  string // a digest
	device   string
	xattrs   string
	modified time.Time
}

func (e entry) String() string {
	return fmt.Sprintf("%c %o %d:%d %q %s %s %s", e.kind, e.mode, e.uid, e.gid, e.link, e.content, e.device, e.xattrs)
}

// saved writes an image into an archive and reads that.
func saved(t testing.TB, p *peer, file, name string) imageFiles {
	t.Helper()
	p.must(t, "image", "save", "-o", file, name)
	images, err := readArchive(file)
	if err != nil {
		t.Fatalf("%s: %s: %v", p.name, file, err)
	}
	if len(images) != 1 {
		t.Fatalf("%s: %s has %d images", p.name, file, len(images))
	}
	return images[0]
}

// readArchive reads a docker archive (https://github.com/moby/docker-image-spec, "Combined Image JSON + Filesystem Changeset").
func readArchive(file string) ([]imageFiles, error) {
	blobs, err := readTar(file)
	if err != nil {
		return nil, err
	}
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(blobs["manifest.json"], &manifest); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	var images []imageFiles
	for _, m := range manifest {
		i := imageFiles{id: fmt.Sprintf("sha256:%x", sha256.Sum256(blobs[m.Config])), tree: map[string]entry{}, layers: len(m.Layers), tags: m.RepoTags}
		if err := json.Unmarshal(blobs[m.Config], &i.config); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Config, err)
		}
		for _, l := range m.Layers {
			if err := applyLayer(i.tree, blobs[l]); err != nil {
				return nil, fmt.Errorf("layer %s: %w", l, err)
			}
		}
		images = append(images, i)
	}
	return images, nil
}

// readTar reads the files of a tar, following the links that docker's old archives have.
func readTar(file string) (map[string][]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	files, links := map[string][]byte{}, map[string]string{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeSymlink {
			links[h.Name] = path.Join(path.Dir(h.Name), h.Linkname)
			continue
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
	for name, target := range links {
		files[name] = files[target]
	}
	return files, nil
}

// applyLayer puts a layer on what is below it (https://github.com/opencontainers/image-spec/blob/main/layer.md).
func applyLayer(tree map[string]entry, layer []byte) error {
	var in io.Reader = bytes.NewReader(layer)
	if bytes.HasPrefix(layer, []byte{0x1f, 0x8b}) {
		zip, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		in = zip
	}
	above, err := readTree(in)
	if err != nil {
		return err
	}
	for name := range above {
		dir, base := path.Split(name)
		switch {
		case base == ".wh..wh..opq":
			removeBelow(tree, dir)
		case strings.HasPrefix(base, ".wh."):
			gone := dir + strings.TrimPrefix(base, ".wh.")
			delete(tree, gone)
			removeBelow(tree, gone+"/")
		}
	}
	for name, e := range above {
		if strings.HasPrefix(path.Base(name), ".wh.") {
			continue
		}
		if e.kind != tar.TypeDir {
			removeBelow(tree, name+"/")
		}
		tree[name] = e
	}
	return nil
}

func removeBelow(tree map[string]entry, dir string) {
	maps.DeleteFunc(tree, func(name string, _ entry) bool { return strings.HasPrefix(name, dir) })
}

// readTree reads the entries of a tar. Hard links become what they lead to.
func readTree(in io.Reader) (map[string]entry, error) {
	tree, hard := map[string]entry{}, map[string]string{}
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean("/" + h.Name)
		e := entry{kind: h.Typeflag, mode: h.Mode & 0o7777, uid: h.Uid, gid: h.Gid, link: h.Linkname, modified: h.ModTime}
		var xattrs []string
		for key, value := range h.PAXRecords {
			if strings.HasPrefix(key, "SCHILY.xattr.") {
				xattrs = append(xattrs, fmt.Sprintf("%s=%x", strings.TrimPrefix(key, "SCHILY.xattr."), value))
			}
		}
		slices.Sort(xattrs)
		e.xattrs = strings.Join(xattrs, ",")
		switch h.Typeflag {
		case tar.TypeReg:
			sum := sha256.New()
			if _, err := io.Copy(sum, r); err != nil {
				return nil, err
			}
			e.content = fmt.Sprintf("%x", sum.Sum(nil))[:16]
		case tar.TypeLink:
			hard[name] = path.Clean("/" + h.Linkname)
		case tar.TypeChar, tar.TypeBlock:
			e.device = fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
		}
		tree[name] = e
	}
	for name, target := range hard {
		if e, ok := tree[target]; ok {
			tree[name] = e
		}
	}
	return tree, nil
}

// compareImages compares two images field by field and file by file.
func compareImages(t testing.TB, r *row, docker, tutti imageFiles) {
	t.Helper()
	volatile := []string{"created", "container", "container_config", "docker_version", "rootfs", "history", "moby.buildkit.buildinfo.v1", "moby.buildkit.cache.v0"}
	compareMaps(r, "config", without(docker.config, volatile...), without(tutti.config, volatile...))
	r.equal("number of layers", itoa(docker.layers), itoa(tutti.layers))
	r.equal("history", history(docker.config), history(tutti.config))
	compareTrees(r, docker.tree, tutti.tree)
}

// compareMaps compares each field of two JSON objects. What is empty is like what is not there.
func compareMaps(r *row, at string, docker, tutti map[string]any) {
	keys := maps.Clone(docker)
	maps.Copy(keys, tutti)
	for _, key := range sorted(keys) {
		a, isMap := docker[key].(map[string]any)
		b, isMap2 := tutti[key].(map[string]any)
		if isMap && isMap2 && key == "config" {
			compareMaps(r, at+"."+key, a, b)
			continue
		}
		r.equal(at+"."+key, compact(docker[key]), compact(tutti[key]))
	}
}

func compact(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	switch s := string(text); s {
	case "null", `""`, "[]", "{}", "false", "0":
		return ""
	default:
		return s
	}
}

func without(m map[string]any, keys ...string) map[string]any {
	m = maps.Clone(m)
	for _, k := range keys {
		delete(m, k)
	}
	return m
}

// history is that of an image, without times.
func history(config map[string]any) string {
	var b strings.Builder
	list, _ := config["history"].([]any)
	for _, h := range list {
		item, _ := h.(map[string]any)
		b.WriteString(compact(without(item, "created")) + "\n")
	}
	return b.String()
}

// compareTrees compares two file systems. Times are compared where they are older than the comparison itself.
func compareTrees(r *row, docker, tutti map[string]entry) {
	all := maps.Clone(docker)
	maps.Copy(all, tutti)
	fresh := time.Now().Add(-24 * time.Hour)
	for _, name := range sorted(all) {
		a, inDocker := docker[name]
		b, inTutti := tutti[name]
		switch {
		case !inDocker:
			r.differ("file "+name, "not there", b.String())
		case !inTutti:
			r.differ("file "+name, a.String(), "not there")
		default:
			r.equal("file "+name, a.String(), b.String())
			if (a.modified.Before(fresh) || b.modified.Before(fresh)) && !a.modified.Truncate(time.Second).Equal(b.modified.Truncate(time.Second)) {
				r.differ("time of "+name, a.modified.UTC().Format(time.RFC3339), b.modified.UTC().Format(time.RFC3339))
			}
		}
	}
}
