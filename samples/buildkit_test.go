package samples

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/cli/cli/config/types"
	controlapi "github.com/moby/buildkit/api/services/control"
	bkclient "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	"github.com/moby/buildkit/session/filesync"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/tonistiigi/fsutil"

	"tutti/runtime/image/imagetest"
)

// Docker's clients build on the engine as on docker's: what they offer is used, and the results are where they ask for them.
func TestBuildKitClients(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.environ = append(s.environ, "DOCKER_CONFIG="+filepath.Join(s.dir, "docker-config"))
	s.write("compose.yaml", "name: kit\nservices:\n  one: {image: 'kit:one'}\n  keep: {image: 'busybox:latest', command: sleep 1000, init: true}\n")
	s.must("up", "-d", "keep") // the engine stays
	c := s.buildkit()
	s.kitImage(t, c)
	s.kitOutputs(t, c)
	s.kitRegistry(t, c)
	s.kitRefusals(t, c)
	s.kitCache(t, c)
	s.kitSession(t)
	s.kitCancel(t, c)
	s.kitAfterDeath(t)
}

func (s *site) kitImage(t *testing.T, c *bkclient.Client) {
	k := kitBuild{
		files: map[string]string{"Dockerfile": "FROM busybox:latest\nARG A\nCOPY . /ctx/\nRUN --mount=type=secret,id=tok cat /run/secrets/tok > /seen; echo $A\n" +
			"RUN ls /sys/class/net; grep -q 'tutti-' /proc/self/cgroup || cat /proc/self/cgroup\nCMD [\"sh\", \"-c\", \"cat /ctx/f /seen; ls /ctx\"]\n", "f": "file\n", "not": "", ".dockerignore": "not\n"},
		attrs:   map[string]string{"build-arg:A": "argument", "attest:provenance": "mode=min,inline-only=true"},
		exports: []bkclient.ExportEntry{{Type: "moby", Attrs: map[string]string{"name": "kit:one,docker.io/library/kit:again"}}},
		session: []session.Attachable{secretsprovider.NewSecretProvider(secretValues{"tok": []byte("secret\n")})},
	}
	answer, seen, err := k.run(t.Context(), t, c)
	if err != nil {
		t.Fatal(err)
	}
	if out := s.must("run", "--rm", "one"); out != "file\nsecret\nDockerfile\nf\n" {
		t.Errorf("the image says %q", out)
	}
	if !strings.Contains(seen.text, "argument\n") || !strings.Contains(seen.text, "eth0\nlo\n") {
		t.Errorf("the steps say %q", seen.text)
	}
	shown := strings.Join(seen.steps, "\n")
	for _, want := range []string{"naming to docker.io/library/kit:one", "naming to docker.io/library/kit:again", "unpacking to docker.io/library/kit:one"} {
		if !strings.Contains(shown, want) || strings.Contains(shown, "dangling") {
			t.Errorf("no %q, or the name that it has for the time being, in %s", want, shown)
		}
	}
	if id := s.imageID("kit:again"); id != answer["containerimage.config.digest"] || answer["image.name"] != "docker.io/library/kit:one,docker.io/library/kit:again" {
		t.Errorf("image %s, the client is told %v", id, answer)
	}
	if answer, again, err := k.run(t.Context(), t, c); err != nil || !strings.Contains(strings.Join(again.steps, "\n"), "COPY . /ctx/ cached=true") {
		t.Errorf("again: %v %v %v", answer, again, err)
	}
	workers, err := c.ListWorkers(t.Context())
	if err != nil || len(workers) != 1 || len(workers[0].Platforms) != 1 || workers[0].BuildkitVersion.Version == "" {
		t.Errorf("workers: %+v, %v", workers, err)
	}
}

// imageID is the ID of an image of the store.
func (s *site) imageID(name string) string {
	s.t.Helper()
	var all []struct{ Id string }
	if err := json.Unmarshal([]byte(s.must("image", "inspect", name)), &all); err != nil || len(all) != 1 {
		s.t.Fatalf("inspect %s: %v", name, err)
	}
	return all[0].Id
}

func (s *site) kitOutputs(t *testing.T, c *bkclient.Client) {
	dir := t.TempDir()
	var tar, oci, docker kept
	k := kitBuild{
		files: map[string]string{"Dockerfile": "FROM busybox:latest AS b\nRUN echo made > /made\nFROM scratch\nCOPY --from=b /made /made\n"},
		exports: []bkclient.ExportEntry{
			{Type: "local", OutputDir: dir},
			{Type: "tar", Output: tar.open},
			{Type: "oci", Output: oci.open, Attrs: map[string]string{"name": "kit:oci"}},
			{Type: "docker", Output: docker.open, Attrs: map[string]string{"name": "kit:docker"}},
			{Type: "image", Attrs: map[string]string{"name": "kit:image"}},
		},
	}
	if _, _, err := k.run(t.Context(), t, c); err != nil {
		t.Fatal(err)
	}
	if made, err := os.ReadFile(filepath.Join(dir, "made")); err != nil || string(made) != "made\n" {
		t.Errorf("the folder has %q, %v", made, err)
	}
	if !strings.Contains(string(tar.data), "made\n") {
		t.Error("the tar has not what was made")
	}
	s.imageID("kit:image")
	for name, file := range map[string]*kept{"oci": &oci, "docker": &docker} {
		s.write(name+".tar", string(file.data))
		if out := s.must("image", "load", "-i", name+".tar"); !strings.Contains(out, "kit:"+name) {
			t.Errorf("loading what was written as %s: %s", name, out)
		}
	}
}

// kitRegistry pushes with the login of the client's session, which the engine has not.
func (s *site) kitRegistry(t *testing.T, c *bkclient.Client) {
	address := s.registry("kit", "pass word")
	var asked []string
	login := authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{AuthConfigProvider: func(_ context.Context, host string, _ []string, _ authprovider.ExpireCachedAuthCheck) (types.AuthConfig, error) {
		asked = append(asked, host)
		return types.AuthConfig{Username: "kit", Password: "pass word"}, nil
	}})
	k := kitBuild{
		files:   map[string]string{"Dockerfile": "FROM busybox:latest\nRUN echo pushed > /pushed\n"},
		exports: []bkclient.ExportEntry{{Type: "moby", Attrs: map[string]string{"name": address + "/kit:pushed", "push": "true"}}},
		to:      []bkclient.CacheOptionsEntry{{Type: "registry", Attrs: map[string]string{"ref": address + "/kit:cache", "mode": "max"}}},
	}
	if _, _, err := k.run(t.Context(), t, c); err == nil || !strings.Contains(err.Error(), "401") && !strings.Contains(err.Error(), "no basic auth") {
		t.Errorf("without a login: %v", err)
	}
	k.session = []session.Attachable{login}
	answer, _, err := k.run(t.Context(), t, c)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(asked, address) {
		t.Errorf("asked for the logins of %v", asked)
	}
	if r := s.withInput("pass word\n", "login", "--username", "kit", "--password-stdin", address); r.code != 0 {
		t.Fatal(r)
	}
	s.must("image", "rm", address+"/kit:pushed")
	s.must("image", "pull", "--quiet", address+"/kit:pushed")
	if id := s.imageID(address + "/kit:pushed"); id != answer["containerimage.config.digest"] {
		t.Errorf("pulled %s, pushed %v", id, answer)
	}
	// All of the cache is gone but the registry's.
	if err := c.Prune(t.Context(), nil, bkclient.PruneAll); err != nil {
		t.Fatal(err)
	}
	k.to, k.exports = nil, []bkclient.ExportEntry{}
	k.from = []bkclient.CacheOptionsEntry{{Type: "registry", Attrs: map[string]string{"ref": address + "/kit:cache"}}}
	if _, seen, err := k.run(t.Context(), t, c); err != nil || !strings.Contains(strings.Join(seen.steps, "\n"), "RUN echo pushed > /pushed cached=true") {
		t.Errorf("with the registry's cache: %v %v", seen, err)
	}
}

func (s *site) kitRefusals(t *testing.T, c *bkclient.Client) {
	plain := map[string]string{"Dockerfile": "FROM busybox:latest\n"}
	for want, k := range map[string]kitBuild{
		"granting entitlement security.insecure is not allowed": {allow: []string{"security.insecure"}},
		"granting entitlement device is not allowed":            {allow: []string{"device"}},
		"this host builds for":                                  {attrs: map[string]string{"platform": "linux/s390x"}},
		"cgroup-parent is not supported":                        {attrs: map[string]string{"cgroup-parent": "/x"}},
		"network.host is not allowed":                           {files: map[string]string{"Dockerfile": "FROM busybox:latest\nRUN --network=host true\n"}},
		"security.insecure is not allowed":                      {files: map[string]string{"Dockerfile": "# syntax=docker/dockerfile:labs\nFROM busybox:latest\nRUN --security=insecure true\n"}},
		`unknown cache exporter: "gha"`:                         {to: []bkclient.CacheOptionsEntry{{Type: "gha"}}},
		"invalid tag":                                           {exports: []bkclient.ExportEntry{{Type: "moby", Attrs: map[string]string{"name": "UPPER"}}}},
		"tag is needed when pushing":                            {exports: []bkclient.ExportEntry{{Type: "moby", Attrs: map[string]string{"push": "true"}}}},
		`exporter "weird" could not be found`:                   {exports: []bkclient.ExportEntry{{Type: "weird"}}},
		"dockerfile parse error":                                {files: map[string]string{"Dockerfile": "FROM busybox:latest\nFORM x\n"}},
	} {
		if k.files == nil {
			k.files = plain
		}
		if _, _, err := k.run(t.Context(), t, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not %q, but %v", want, err)
		}
	}
	k := kitBuild{files: map[string]string{"Dockerfile": "FROM busybox:latest\nRUN --network=host true\n"}, allow: []string{"network.host"}, exports: []bkclient.ExportEntry{}}
	if _, _, err := k.run(t.Context(), t, c); err != nil {
		t.Errorf("with the host's network: %v", err)
	}
	for path, header := range map[string]map[string][]string{
		"/session": {"X-Docker-Expose-Session-Uuid": {"short"}},
		"/grpc":    {"Upgrade": {"websocket"}},
	} {
		if _, err := s.hijack(t.Context(), path, header); err == nil || !strings.Contains(err.Error(), "400") {
			t.Errorf("%s with %v: %v", path, header, err)
		}
	}
}

// kitCache looks at the cache and the history of builds, and prunes.
func (s *site) kitCache(t *testing.T, c *bkclient.Client) {
	list, err := c.DiskUsage(t.Context())
	if err != nil || !slices.ContainsFunc(list, func(u *bkclient.UsageInfo) bool { return u.RecordType == bkclient.UsageRecordTypeRegular }) {
		t.Errorf("usage of the cache: %v, %v", list, err)
	}
	removed := make(chan bkclient.UsageInfo)
	var count int
	var drain sync.WaitGroup
	drain.Go(func() {
		for range removed {
			count++
		}
	})
	err = c.Prune(t.Context(), removed, bkclient.PruneAll)
	close(removed)
	drain.Wait()
	if err != nil || count == 0 {
		t.Errorf("pruned %d, %v", count, err)
	}
	if left, err := c.DiskUsage(t.Context()); err != nil || len(left) >= len(list) {
		t.Errorf("after pruning %d of %d: %v", len(left), len(list), err)
	}
	if n, _ := s.history(t, c); n < 3 {
		t.Errorf("the history has %d builds", n)
	}
}

// history counts the builds that can be looked at, and those that go on.
func (s *site) history(t *testing.T, c *bkclient.Client) (complete, active int) {
	t.Helper()
	stream, err := c.ControlClient().ListenBuildHistory(t.Context(), &controlapi.BuildHistoryRequest{EarlyExit: true})
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return complete, active
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == controlapi.BuildHistoryEventType_STARTED {
			active++
			continue
		}
		complete++
		if e.Record.Logs == nil || e.Record.CompletedAt == nil {
			t.Errorf("a record without logs, or that is not complete: %v", e)
		}
	}
}

// kitSession builds as docker 20.10 does: with POST /build, and a session beside it.
func (s *site) kitSession(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"Dockerfile": "FROM busybox:latest\nCOPY f /f\nRUN cat /f; exit $CODE\n", "f": "from the session\n"} {
		text = strings.ReplaceAll(text, "$CODE", "0")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	local, err := fsutil.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	end := func() {}
	open := func() string {
		offer, err := session.NewSession(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		offer.Allow(filesync.NewFSSyncProvider(filesync.StaticDirSource{"context": local, "dockerfile": local}))
		var serve sync.WaitGroup
		serve.Go(func() {
			_ = offer.Run(t.Context(), func(ctx context.Context, _ string, meta map[string][]string) (net.Conn, error) {
				return s.hijack(ctx, "/session", meta)
			})
		})
		end = func() { _ = offer.Close(); serve.Wait() }
		return offer.ID()
	}
	id := open()
	code, text := s.post(t, "/v1.41/build?version=2&remote=client-session&buildid=b1&t=kit:session&session="+id, strings.NewReader(""))
	trace, aux := readTrace(t, text)
	if code != http.StatusOK || !strings.Contains(trace, "from the session") || !strings.Contains(trace, "naming to docker.io/library/kit:session") || aux != s.imageID("kit:session") {
		t.Errorf("%d, image %s, %s\n%s", code, aux, trace, text)
	}
	if _, err := s.hijack(t.Context(), "/session", map[string][]string{"X-Docker-Expose-Session-Uuid": {id}}); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("a session's name a second time: %v", err)
	}
	// The context comes with a request of its own, whichever is first.
	archive, err := imagetest.Layer(imagetest.File{Path: "Dockerfile", Body: "FROM busybox:latest\nRUN echo uploaded\n"})
	if err != nil {
		t.Fatal(err)
	}
	var upload sync.WaitGroup
	upload.Go(func() {
		if code, text := s.post(t, "/build?version=2&buildid=upload-request:b2", strings.NewReader(string(archive))); code != http.StatusOK {
			t.Errorf("upload: %d %s", code, text)
		}
	})
	_, text = s.post(t, "/build?version=2&remote=upload-request&buildid=b2&session="+id, strings.NewReader(""))
	upload.Wait()
	if trace, aux := readTrace(t, text); !strings.Contains(trace, "uploaded") || aux == "" {
		t.Errorf("with an uploaded context: %s\n%s", trace, text)
	}
	if code, text := s.post(t, "/build?version=2", strings.NewReader("")); code != http.StatusBadRequest || !strings.Contains(text, "session") {
		t.Errorf("without a session: %d %s", code, text)
	}
	end()
}

// kitCancel goes away in the middle of a step: its processes go, too.
func (s *site) kitCancel(t *testing.T, c *bkclient.Client) {
	marker := fmt.Sprintf("%d.5", 50000+time.Now().Nanosecond()%10000)
	sleeping := func() bool { return strings.Contains(s.onHost("ps -eo args"), "sleep "+marker) }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var build sync.WaitGroup
	build.Go(func() {
		_, _, err := kitBuild{files: map[string]string{"Dockerfile": "FROM busybox:latest\nRUN sleep " + marker + " & sleep " + marker + "\n"}}.run(ctx, t, c)
		if err == nil {
			t.Error("a build that was cancelled went well")
		}
	})
	eventually(t, commandTimeout, func() error {
		if !sleeping() {
			return errors.New("the step does not run")
		}
		return nil
	})
	cancel()
	build.Wait()
	eventually(t, commandTimeout, func() error {
		if sleeping() {
			return errors.New("the step still runs")
		}
		return nil
	})
}

// kitAfterDeath kills the engine: images, cache and history are as they were.
func (s *site) kitAfterDeath(t *testing.T) {
	old := s.engine()
	var before int
	eventually(t, commandTimeout, func() error {
		complete, active := s.history(t, s.buildkit())
		if before = complete; active > 0 {
			return fmt.Errorf("%d builds go on", active)
		}
		return nil
	})
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if after, _ := s.history(t, s.buildkit()); after != before {
		t.Errorf("the history had %d builds and has %d after the engine has died", before, after)
	}
	s.must("system", "check")
	k := kitBuild{files: map[string]string{"Dockerfile": "FROM kit:session\nRUN cat /f\n"}}
	if _, seen, err := k.run(t.Context(), t, s.buildkit()); err != nil || !strings.Contains(seen.text, "from the session") {
		t.Errorf("after the engine has died: %v, %v", seen, err)
	}
}
