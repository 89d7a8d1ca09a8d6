package imagetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/crypto/bcrypt"
)

// Login of a registry that StartRegistry made with auth.
const (
	User     = "tutti"
	Password = "correct horse"
)

// startTime is when a registry that does not listen is taken for hung.
const startTime = 2 * time.Minute

var listening = regexp.MustCompile(`listening on 127\.0\.0\.1:(\d+)`)

// StartRegistry runs a registry (Debian: docker-registry) on a free loopback port
// until the test ends and returns its address. With auth it wants User and Password.
func StartRegistry(t testing.TB, auth bool) string {
	t.Helper()
	dir := t.TempDir()
	var settings string
	if auth {
		hash, err := bcrypt.GenerateFromPassword([]byte(Password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		writeText(t, filepath.Join(dir, "htpasswd"), User+":"+string(hash)+"\n")
		settings = fmt.Sprintf("auth: {htpasswd: {realm: test, path: %s/htpasswd}}\n", dir)
	}
	return serve(t, dir, "", settings)
}

// StartTLSRegistry is StartRegistry with a certificate, PEM files of which are given; it wants a client's certificate when
// clientCA is not empty.
func StartTLSRegistry(t testing.TB, certificate, key, clientCA string) string {
	t.Helper()
	tls := fmt.Sprintf(", tls: {certificate: %s, key: %s", certificate, key)
	if clientCA != "" {
		tls += fmt.Sprintf(", clientcas: [%s]", clientCA)
	}
	return serve(t, t.TempDir(), tls+"}", "")
}

// serve runs a registry that keeps its data in dir; http and settings are added to its configuration.
func serve(t testing.TB, dir, http, settings string) string {
	t.Helper()
	config := fmt.Sprintf("version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: '127.0.0.1:0'%s}\n%s", dir, http, settings)
	writeText(t, filepath.Join(dir, "config.yml"), config)

	ctx, cancel := context.WithCancel(t.Context())
	hung := time.AfterFunc(startTime, cancel) // for its start alone: a test may need it for any time
	defer hung.Stop()
	cmd := exec.CommandContext(ctx, "docker-registry", "serve", filepath.Join(dir, "config.yml"))
	output, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start docker-registry (Debian: docker-registry): %v", err)
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			drained := make(chan struct{})
			go func() { defer close(drained); _, _ = io.Copy(io.Discard, output) }()
			t.Cleanup(func() { cancel(); <-drained; _ = cmd.Wait() })
			return net.JoinHostPort("127.0.0.1", m[1])
		}
	}
	cancel()
	t.Fatalf("docker-registry ended: %v", cmd.Wait())
	return ""
}

func writeText(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Push puts an image into a registry under "host:port/repository:tag", several
// images as an index of platforms. It sends User and Password when asked to. The
// digest of what the tag points to is returned.
func Push(t testing.TB, name string, images ...Image) digest.Digest {
	t.Helper()
	repo, tag := name[:strings.LastIndex(name, ":")], name[strings.LastIndex(name, ":")+1:]
	host, path, _ := strings.Cut(repo, "/")
	r := repository{t: t, url: "http://" + host + "/v2/" + path}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	var last ocispec.Descriptor
	for _, image := range images {
		desc, err := image.writeOCI(r.put)
		if err != nil {
			t.Fatal(err)
		}
		arch := image.Arch
		if arch == "" {
			arch = runtime.GOARCH
		}
		desc.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
		index.Manifests = append(index.Manifests, desc)
		last = desc
	}
	if len(images) == 1 {
		r.send(http.MethodPut, r.url+"/manifests/"+tag, last.MediaType, r.manifests[last.Digest])
		return last.Digest
	}
	data, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	r.send(http.MethodPut, r.url+"/manifests/"+tag, index.MediaType, data)
	return digest.FromBytes(data)
}

// repository speaks the OCI distribution protocol, as little of it as a push needs.
type repository struct {
	t         testing.TB
	url       string
	manifests map[digest.Digest][]byte
}

// put uploads a blob, or a manifest by digest.
func (r *repository) put(mediaType string, data []byte) (ocispec.Descriptor, error) {
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if mediaType == ocispec.MediaTypeImageManifest {
		if r.manifests == nil {
			r.manifests = map[digest.Digest][]byte{}
		}
		r.manifests[desc.Digest] = data
		r.send(http.MethodPut, r.url+"/manifests/"+desc.Digest.String(), mediaType, data)
		return desc, nil
	}
	location := r.send(http.MethodPost, r.url+"/blobs/uploads/", "", nil).Get("Location")
	separator := "?"
	if strings.Contains(location, "?") {
		separator = "&"
	}
	r.send(http.MethodPut, location+separator+"digest="+desc.Digest.String(), "application/octet-stream", data)
	return desc, nil
}

func (r *repository) send(method, url, contentType string, body []byte) http.Header {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.SetBasicAuth(User, Password)
	request.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(response.Body)
		r.t.Fatalf("%s %s: %s: %s", method, url, response.Status, text)
	}
	return response.Header
}
