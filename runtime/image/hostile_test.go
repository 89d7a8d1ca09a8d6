package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tutti/runtime/image/imagetest"
)

// rawArchive is a docker-archive of one image whose layer has the given headers.
func rawArchive(t *testing.T, headers []tar.Header) *bytes.Buffer {
	t.Helper()
	var layer, archive bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, h := range headers {
		h.Mode = 0o755
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(layer.Bytes())
	config := []byte(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:` + hex.EncodeToString(sum[:]) + `"]}}`)
	manifest, err := json.Marshal([]map[string]any{{"Config": "c.json", "RepoTags": []string{"evil:1"}, "Layers": []string{"l.tar"}}})
	if err != nil {
		t.Fatal(err)
	}
	out := tar.NewWriter(&archive)
	for name, data := range map[string][]byte{"c.json": config, "l.tar": layer.Bytes(), "manifest.json": manifest} {
		if err := out.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return &archive
}

// Whatever a layer contains, nothing outside its folder may change.
func TestImageHostileLayers(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.MkdirAll(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "file"), []byte("safe"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 4} }
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	hard := func(name, to string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to} }
	up := "../../../../../../../../../.."
	cases := map[string][]tar.Header{
		"dots":           {file(up + outside + "/new")},
		"absolute":       {file(outside + "/new")},
		"through a link": {link("dir", outside), file("dir/new")},
		"over a link":    {link("dir", outside+"/file"), file("dir")},
		"up a link":      {link("dir", up+outside), file("dir/new")},
		"hard link":      {hard("mine", up+outside+"/file"), file("mine")},
		"link to link":   {link("a", outside), hard("b", "a/file"), file("b")},
		"whiteout":       {link("dir", outside), file("dir/.wh.file")},
		"whiteout dots":  {file(up + outside + "/.wh.file")},
		"opaque":         {link("dir", outside), file("dir/.wh..wh..opq")},
		"loop":           {link("a", "b"), link("b", "a"), file("a/new")},
		"fifo name":      {{Name: "dir/../../../fifo", Typeflag: tar.TypeFifo}},
	}
	for name, headers := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openStore(t)
			_, err := s.Load(t.Context(), rawArchive(t, headers), LoadOptions{})
			t.Logf("load: %v", err) // refused or kept inside, both will do
			entries, err := os.ReadDir(outside)
			if err != nil || len(entries) != 1 {
				t.Errorf("outside has %v, %v; want one file", entries, err)
			}
			if data, err := os.ReadFile(filepath.Join(outside, "file")); err != nil || string(data) != "safe" {
				t.Errorf("the outside file is %q, %v", data, err)
			}
			if _, err := s.Load(t.Context(), dockerArchive(t, testImage("fine", "fine")), LoadOptions{}); err != nil {
				t.Errorf("a good image afterwards: %v", err)
			}
		})
	}
}

// Layers that are unpacked at the same time do not meet: links of one never lead the files of another out
// (CVE-2025-47290).
func TestImageHostileLayersAtOnce(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	s := openStore(t)
	done := make(chan error)
	const n = 24
	for i := range n {
		headers := []tar.Header{
			{Name: "dir", Typeflag: tar.TypeSymlink, Linkname: outside},
			{Name: fmt.Sprint("dir/file", i), Typeflag: tar.TypeReg, Size: 4},
		}
		if i%2 == 0 { // the same names the other way round, all with layers of their own
			headers = []tar.Header{{Name: "dir/", Typeflag: tar.TypeDir}, {Name: fmt.Sprint("dir/file", i), Typeflag: tar.TypeReg, Size: 4}}
		}
		archive := rawArchive(t, headers)
		go func() {
			_, err := s.Load(t.Context(), archive, LoadOptions{})
			done <- err
		}()
	}
	loaded := 0
	for range n {
		if <-done == nil { // the hostile ones are refused or kept inside, both will do
			loaded++
		}
	}
	if loaded < n/2 {
		t.Errorf("%d of %d good images were loaded", loaded, n/2)
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("written outside: %v, %v", left, err)
	}
}

// killRoot makes the test's binary load images in the named folder until it is killed.
const killRoot = "TUTTI_TEST_IMAGE_ROOT"

// loadForever loads, tags, removes and collects.
func loadForever(root string) {
	ctx := context.Background()
	s, err := Open(ctx, root)
	for i := 0; err == nil; i++ {
		image := testImage(string(rune('a'+i%3)), "app:latest")
		for n := range 8 {
			image.Layers = append(image.Layers, []imagetest.File{{Path: "big", Body: string(make([]byte, 100_000+n+i%3))}})
		}
		var archive bytes.Buffer
		if err = imagetest.DockerArchive(&archive, image); err != nil {
			break
		}
		if _, err = s.Load(ctx, &archive, LoadOptions{}); err != nil {
			break
		}
		if err = s.Tag(ctx, "app", "other:tag"); err != nil {
			break
		}
		if _, err = s.Remove(ctx, "app", RemoveOptions{}); err != nil {
			break
		}
		err = s.GarbageCollect(ctx)
	}
	panic(err)
}

func TestImageStoreSurvivesKill(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for round := range 12 {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
		cmd.Env = append(os.Environ(), killRoot+"="+root, "TMPDIR="+TempDir(root)) // as the engine is started
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.NewTimer(time.Duration(20+round*17) * time.Millisecond)
		<-timer.C
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		s, err := Open(t.Context(), root)
		if err != nil {
			t.Fatal(err)
		}
		list, err := s.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, image := range list {
			lower, err := s.Lower(t.Context(), image)
			if err != nil || len(lower) != 10 {
				t.Errorf("round %d: layers of %s: %d, %v", round, image.Names, len(lower), err)
			}
		}
		records, err := s.records.List(t.Context())
		if err != nil || len(records) > 0 && len(list) == 0 {
			t.Errorf("round %d: %d records, %d readable images, %v", round, len(records), len(list), err)
		}
		if err := s.GarbageCollect(t.Context()); err != nil {
			t.Error(err)
		}
		if faults := verify(t, s, nil); len(faults) > 0 {
			t.Errorf("round %d: %+v", round, faults)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if table, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(table), root) {
			t.Errorf("round %d: mounts are left: %s, %v", round, table, err)
		}
	}
}
