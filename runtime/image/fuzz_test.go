package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fuzzStore is a store with small limits, beside a canary that nothing may touch.
func fuzzStore(f *testing.F) (*Store, func(t *testing.T)) {
	f.Helper()
	outside := f.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "canary"), []byte("safe"), 0o600); err != nil {
		f.Fatal(err)
	}
	s, err := Open(f.Context(), filepath.Join(outside, "store"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	s.limits = limits{archiveEntries: 100, layerEntries: 100, ratio: 10, floor: 1 << 20}
	return s, func(t *testing.T) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(outside, "canary"))
		list, listErr := os.ReadDir(outside)
		if err != nil || listErr != nil || string(text) != "safe" || len(list) != 2 {
			t.Fatalf("outside there is %v, the canary is %q: %v, %v", list, text, err, listErr)
		}
	}
}

// FuzzLoad loads any bytes as an image archive: they are images, or refused, and nothing is left outside the store.
//
//	go test ./runtime/image -run '^$' -fuzz FuzzLoad -fuzztime 5m
func FuzzLoad(f *testing.F) {
	s, check := fuzzStore(f)
	for _, c := range hostileArchives(f) {
		if len(c.data) < 64<<10 {
			f.Add(c.data)
		}
	}
	f.Add(dockerArchive(f, testImage("x", "x:1")).Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		loaded, err := s.Load(t.Context(), bytes.NewReader(data), LoadOptions{})
		check(t)
		if err != nil {
			return
		}
		for _, image := range loaded {
			var b bytes.Buffer
			if err := s.Save(t.Context(), &b, SaveOptions{Refs: []string{image.ID}}); err != nil {
				t.Errorf("what was loaded cannot be saved: %v", err)
			}
			if _, err := s.Load(t.Context(), &b, LoadOptions{}); err != nil {
				t.Errorf("what was saved cannot be loaded: %v", err)
			}
			if _, err := s.Remove(t.Context(), image.ID, RemoveOptions{Force: true}); err != nil && !errors.Is(err, ErrNotFound) {
				t.Errorf("remove: %v", err)
			}
		}
	})
}

// FuzzLayer unpacks a layer of files that are named, linked and of kinds as the input says, over a layer with links that
// lead out. A line of it is one file: the letter of its kind, its name, and where it leads, with spaces between.
//
//	go test ./runtime/image -run '^$' -fuzz FuzzLayer -fuzztime 5m
func FuzzLayer(f *testing.F) {
	s, check := fuzzStore(f)
	for _, text := range []string{
		"0 a/b\n2 l /etc\n0 l/x\n1 h l/passwd\n5 d\n0 d/.wh..wh..opq\n0 .wh.a", "2 a b\n2 b a\n0 a/x", "0 ../../x\n2 up ../..\n0 up/canary\n1 up/canary h",
		"3 dev\n4 blk\n6 fifo\n0 fifo/x", "0 .wh.\n0 .wh..\n0 .wh...\n0 a/.wh..wh..opq\n0 .wh..wh..opq", "5 a\n2 a ..\n0 a/canary", "0 /\n5 /\n5 .\n5 ..",
	} {
		f.Add(text)
	}
	base := tarOf(f, entry{name: "up", Header: tar.Header{Typeflag: tar.TypeSymlink, Linkname: "../../../.."}},
		entry{name: "abs", Header: tar.Header{Typeflag: tar.TypeSymlink, Linkname: filepath.Dir(s.root)}}, entry{name: "file", data: "x"})
	f.Fuzz(func(t *testing.T, text string) {
		layer, ok := layerOf(text)
		if !ok {
			return
		}
		archive := dockerTar(t, []dockerEntry{{"c.json", nil, []string{"0.tar", "1.tar"}}}, entry{name: "c.json", data: configOf(t, base, layer)},
			entry{name: "0.tar", data: string(base)}, entry{name: "1.tar", data: string(layer)})
		loaded, err := s.Load(t.Context(), bytes.NewReader(archive), LoadOptions{})
		check(t)
		if err != nil {
			return
		}
		if _, err := s.Remove(t.Context(), loaded[0].ID, RemoveOptions{Force: true}); err != nil {
			t.Errorf("remove: %v", err)
		}
		if err := s.GarbageCollect(t.Context()); err != nil {
			t.Errorf("collect: %v", err)
		}
		check(t)
	})
}

// layerOf writes the layer that a text describes.
func layerOf(text string) ([]byte, bool) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		name, to, _ := strings.Cut(rest, " ")
		if len(kind) != 1 {
			return nil, false
		}
		h := &tar.Header{Name: name, Linkname: to, Typeflag: kind[0], Mode: 0o755}
		if h.Typeflag == tar.TypeReg {
			h.Size, h.Linkname = 1, ""
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, false
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, "x"); err != nil {
				return nil, false
			}
		}
	}
	return b.Bytes(), w.Close() == nil
}
