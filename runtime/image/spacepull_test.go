package image

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"tutti/runtime/image/imagetest"
)

// smallDisk mounts an ext4 file system of so many MiB, which ends with the test.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	disk, root := filepath.Join(dir, "disk"), filepath.Join(dir, "root")
	for _, args := range [][]string{
		{"truncate", "-s", fmt.Sprintf("%dM", size), disk}, {"mke2fs", "-q", "-t", "ext4", "-m", "0", disk}, {"mkdir", root}, {"mount", "-o", "loop", disk, root},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return root
}

// leave fills a disk until so many KiB are free.
func leave(t *testing.T, root string, free int64) {
	t.Helper()
	f, err := os.Create(filepath.Join(root, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		t.Fatal(err)
	}
	for size := int64(st.Bavail)*st.Bsize - free<<10; size > 0; size -= 4 << 10 { // it needs blocks of its own
		if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err == nil {
			return
		}
	}
}

// blobCounter stands before a registry and counts the blobs that are fetched from it.
type blobCounter struct {
	mu      sync.Mutex
	fetched map[string]int
}

func countBlobs(t *testing.T, registry string) (*blobCounter, string) {
	t.Helper()
	c := &blobCounter{fetched: map[string]int{}}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: registry})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, digest, ok := strings.Cut(r.URL.Path, "/blobs/"); ok && r.Method == http.MethodGet {
			c.mu.Lock()
			c.fetched[digest]++
			c.mu.Unlock()
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return c, strings.TrimPrefix(server.URL, "http://")
}

// A disk that fills up at any moment of a pull, be it during the download, while a layer is unpacked or in a database: an
// error that says which disk and what to do, a store that is whole, and a pull that goes on when there is room.
func TestImagePullOntoFullDisk(t *testing.T) {
	t.Parallel()
	registry := imagetest.StartRegistry(t, false)
	noise := make([]byte, 1<<20)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	// The first layer is larger unpacked than as it comes, the second one is not.
	var many []imagetest.File
	for i := range 40 {
		many = append(many, imagetest.File{Path: fmt.Sprintf("many/%d", i), Body: strings.Repeat(fmt.Sprint(i), 50_000)})
	}
	image := imagetest.Image{Layers: [][]imagetest.File{many, {{Path: "noise", Body: base64.StdEncoding.EncodeToString(noise)}}}}
	imagetest.Push(t, registry+"/app:v1", image)
	counter, address := countBlobs(t, registry)
	root := smallDisk(t, 48)
	s := openStoreAt(t, filepath.Join(root, "images"))
	kept := load(t, s, testImage("kept", "kept"))[0]
	failures, downloads, unpacked := 0, 0, 0
	for free := int64(0); ; free += 250 {
		leave(t, root, free)
		pulled, err := s.Pull(t.Context(), address+"/app:v1", PullOptions{})
		if err == nil {
			checkLayers(t, s, kept, "kept")
			if lower, err := s.Lower(t.Context(), pulled); err != nil || len(lower) != 2 {
				t.Errorf("its layers: %v, %v", lower, err)
			}
			break
		}
		failures++
		text := err.Error()
		if strings.Contains(text, "unpack layer") {
			unpacked++
		}
		if strings.Contains(text, "/content/ingest/") {
			downloads++
		}
		if strings.Contains(text, "registry ") || !strings.Contains(text, "the disk of "+s.root) || !strings.Contains(text, "system prune") {
			t.Errorf("with %d KiB free: %v", free, err)
		}
		if faults := verify(t, s, nil); len(faults) > 0 {
			t.Errorf("with %d KiB free: %+v", free, faults)
		}
	}
	if downloads == 0 || unpacked == 0 {
		t.Errorf("of %d pulls %d failed in a download, %d in unpacking", failures, downloads, unpacked)
	}
	// What was whole was not fetched again. One request more for each layer that was being fetched.
	for digest, n := range counter.fetched {
		if n > downloads+1 {
			t.Errorf("%s was asked for %d times in %d pulls, of which %d failed in a download", digest, n, failures+1, downloads)
		}
	}
	if faults := verify(t, s, nil); len(faults) > 0 {
		t.Errorf("in the end: %+v", faults)
	}
}
