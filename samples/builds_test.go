package samples

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"tutti/runtime/image/imagetest"
)

const buildsFile = `
name: builds
services:
  base:
    build: {context: ., target: shared, tags: [builds-base:other]}
  one:
    build: {context: ., target: one, additional_contexts: {from-base: "service:base"}}
  two:
    build: {context: ., target: two, additional_contexts: {from-base: "service:base"}, labels: {l: v}}
  alone:
    build: {context: ., dockerfile_inline: "FROM busybox:latest\nRUN ls /sys/class/net > /network", network: none}
  checked:
    build: {context: ., dockerfile: Checked, extra_hosts: ["outer=host-gateway"]}
    healthcheck: {interval: 1h}
`

// The shared stage writes what differs each time it runs.
const buildsDockerfile = `FROM busybox:latest AS shared
RUN cat /proc/sys/kernel/random/uuid > /shared
FROM shared AS one
RUN ls /sys/class/net > /network
COPY --from=from-base /shared /again
FROM shared AS two
RUN echo two > /two
COPY --from=from-base /shared /again
`

// Services are built at once, what they share once, those that are contexts of others first; and the images run.
func TestBuilds(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", buildsFile)
	s.write("Dockerfile", buildsDockerfile)
	s.write("Checked", "FROM busybox:latest\nRUN ip route | grep \"default via $(sed -n 's/.outer$//p' /etc/hosts) \" && ping -c 1 outer\nCOPY --chmod=755 <<\"EOF\" /bin/myshell\n#!/bin/sh\necho \"$1 $2\" > /seen\nexec sh -c \"$2\"\nEOF\n"+
		"SHELL [\"/bin/myshell\", \"-odd\"]\nHEALTHCHECK CMD test -e /seen\nSHELL [\"/bin/myshell\", \"-x\"]\nENTRYPOINT [\"sleep\", \"1000\"]\n")
	s.buildDry(t)
	r := s.run("build", "--progress", "plain")
	if r.code != 0 {
		t.Fatal(r)
	}
	for _, want := range []string{"[builds-two two", "naming to docker.io/library/builds-base:other", "Image builds-one  Built"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("no %q in %s", want, r)
		}
	}
	s.must("up", "-d", "--wait", "checked") // healthy only by the image's own shell
	if seen := s.must("exec", "checked", "cat", "/seen"); seen != "-x test -e /seen\n" {
		t.Errorf("the health check's shell saw %q", seen)
	}
	var shared []string
	for _, name := range []string{"base", "one", "two"} {
		text := s.must("run", "--rm", name, "cat", "/shared")
		shared = append(shared, text)
		if name != "base" {
			shared = append(shared, s.must("run", "--rm", name, "cat", "/again"))
		}
	}
	for _, text := range shared {
		if text != shared[0] || len(text) < 30 {
			t.Errorf("the shared stage ran more than once: %q", shared)
		}
	}
	if net := s.must("run", "--rm", "alone", "cat", "/network"); net != "lo\n" {
		t.Errorf("the network none of a build has %q", net)
	}
	s.buildFlags(t)
	s.buildSingle(t)
	s.buildClassic(t)
	s.buildInterrupted(t)
}

// buildDry says what would be built, and builds nothing.
func (s *site) buildDry(t *testing.T) {
	want := "DRY-RUN MODE -  Image builds-base Building\nDRY-RUN MODE -  Image builds-one Building\n" +
		"DRY-RUN MODE -  base ==> ==> writing image dryRun-1405df66cbe219b0bf6355bc3d60361a8376b6b4\nDRY-RUN MODE -  base ==> ==> naming to builds-base\n" +
		"DRY-RUN MODE -  one ==> ==> writing image dryRun-fe05bcdcdc4928012781a5f1a2a77cbb5398e106\nDRY-RUN MODE -  one ==> ==> naming to builds-one\n" +
		"DRY-RUN MODE -  Image builds-base Built\nDRY-RUN MODE -  Image builds-one Built\n"
	if out := s.must("--dry-run", "build", "one"); out != want {
		t.Errorf("the dry run of a build says %s, want %s", out, want)
	}
	s.write("dry.yaml", "name: dry\nservices: {a: {build: {context: ., dockerfile: Missing}}}\n")
	if r := s.run("-f", "dry.yaml", "--dry-run", "build"); r.code != 1 || !strings.HasPrefix(r.stderr, "dry.yaml:2: service \"a\": its Dockerfile ") {
		t.Errorf("the dry run of a build without a Dockerfile: %s", r)
	}
	if r := s.run("-f", "dry.yaml", "build"); r.code != 1 || !strings.HasPrefix(r.stderr, "dry.yaml:2: service \"a\": its Dockerfile ") {
		t.Errorf("a build without a Dockerfile: %s", r)
	}
	s.write("dry.yaml", "name: dry\nservices:\n  a:\n    build:\n      dockerfile_inline: FROM builds-base\n      platforms: [linux/s390x]\n")
	if r := s.run("-f", "dry.yaml", "up", "-d"); r.code != 1 || !strings.HasPrefix(r.stderr, "dry.yaml:4: service \"a\": platform linux/s390x: this host builds for ") {
		t.Errorf("a build for another machine: %s", r)
	}
	if out := s.must("image", "ls", "-q", "builds-base"); out != "" {
		t.Errorf("a dry run has built %s", out)
	}
}

// buildFlags tries the flags of build that change what is done.
func (s *site) buildFlags(t *testing.T) {
	s.write("odd.yaml", "name: odd\nservices: {odd: {build: {context: ., dockerfile_inline: 'FROM busybox:latest AS Odd'}}}\n")
	if r := s.run("-f", "odd.yaml", "build", "--check"); r.code != 1 || !strings.Contains(r.stdout, "odd\n\nCheck complete, 1 warning has been found!") || !strings.Contains(r.stdout, "StageNameCasing") {
		t.Errorf("--check: %s", r)
	}
	if out := s.must("build", "--check", "base"); out != "base\n\nCheck complete, no warnings found.\n" {
		t.Errorf("--check says %q", out)
	}
	if r := s.run("build", "--builder", "mine"); r.code != 1 || !strings.Contains(r.stderr, `no builder "mine" found`) {
		t.Error(r)
	}
	s.write("hungry/Dockerfile", "FROM busybox:latest\nRUN head -c 64000000 /dev/zero | tail -c 63000000 > /dev/null\n")
	s.write("hungry.yaml", "name: builds\nservices: {hungry: {build: ./hungry}}\n")
	if r := s.run("-f", "hungry.yaml", "build", "-m", "16m"); r.code != 1 || !strings.Contains(r.stderr, `service "hungry": build failed`) || !strings.Contains(r.stderr, "out of memory") && !strings.Contains(r.stderr, "137") {
		t.Errorf("with too little memory: %s", r)
	}
	var status struct{ Vertexes []struct{ Name string } }
	raw := s.run("build", "--progress", "rawjson", "base")
	line, _, _ := strings.Cut(raw.stderr, "\n")
	if err := json.Unmarshal([]byte(line), &status); raw.code != 0 || err != nil || len(status.Vertexes) == 0 {
		t.Errorf("rawjson: %v: %s", err, raw)
	}
	if r := s.run("build", "-q"); r.code != 0 || r.stdout+r.stderr != "" {
		t.Errorf("quiet: %s", r)
	}
	// A mistake is shown with its lines and what it printed, and the steps before it stay cached.
	s.write("Wrong", "FROM busybox:latest\nRUN echo fine > /fine\nRUN echo this is why; exit 3\n")
	for range 2 {
		r := s.run("image", "build", "--progress", "plain", "-f", "Wrong", ".")
		for _, want := range []string{"this is why", "Wrong:3", "   3 | >>> RUN echo this is why", "exit code: 3"} {
			if r.code != 1 || !strings.Contains(r.stderr, want) {
				t.Errorf("no %q: %s", want, r)
			}
		}
	}
	if r := s.run("image", "build", "--progress", "plain", "-f", "Wrong", "."); !regexp.MustCompile(`RUN echo fine > /fine\n#\d+ CACHED`).MatchString(r.stderr) {
		t.Errorf("not cached: %s", r)
	}
}

// buildSingle tries `image build`.
func (s *site) buildSingle(t *testing.T) {
	s.write("single/Dockerfile", "FROM busybox:latest\nARG A\nARG FROM_ENV\nRUN --mount=type=secret,id=t,env=T [ -n \"$T\" ] && echo $A $FROM_ENV > /args && grep extra /etc/hosts >> /args\n")
	s.environ = append(s.environ, "FROM_ENV=passed", "TOKEN=not for the image")
	id := s.must("image", "build", "-q", "-t", "single:1", "--build-arg", "A=given", "--build-arg", "FROM_ENV", "--secret", "id=t,env=TOKEN",
		"--add-host", "extra:10.0.0.9", "--label", "l=v", "--iidfile", "iid", "--metadata-file", "meta.json", "single")
	if iid, err := os.ReadFile(filepath.Join(s.dir, "iid")); err != nil || string(iid)+"\n" != id {
		t.Errorf("iidfile %q, printed %q, %v", iid, id, err)
	}
	if meta, err := os.ReadFile(filepath.Join(s.dir, "meta.json")); err != nil || !strings.Contains(string(meta), `"image.name": "docker.io/library/single:1"`) {
		t.Errorf("metadata %s, %v", meta, err)
	}
	s.write("compose-single.yaml", "name: single\nservices: {s: {image: 'single:1'}}\n")
	if out := s.must("-f", "compose-single.yaml", "run", "--rm", "s", "cat", "/args"); out != "given passed\n10.0.0.9\textra\n" {
		t.Errorf("the image says %q", out)
	}
	s.must("-f", "compose-single.yaml", "down")
	if out := s.must("image", "history", "--no-trunc", "single:1"); strings.Contains(out, "not for the image") {
		t.Errorf("the secret is in the history: %s", out)
	}
	s.must("image", "build", "-o", "out", "--build-arg", "A=out", "--secret", "id=t,env=TOKEN", "--add-host", "extra=10.0.0.9", "single")
	if text, err := os.ReadFile(filepath.Join(s.dir, "out/args")); err != nil || !strings.HasPrefix(string(text), "out\n") {
		t.Errorf("the folder has %q, %v", text, err)
	}
	if r := s.withInput("FROM busybox:latest\nRUN echo of a stream > /s\n", "image", "build", "-q", "-t", "stream:1", "-"); r.code != 0 {
		t.Error(r)
	}
	if r := s.run("image", "build", "--platform", "linux/s390x", "single"); r.code != 1 || !strings.Contains(r.stderr, "this host builds for") {
		t.Error(r)
	}
	if r := s.run("image", "build", "nowhere"); r.code != 1 || !strings.Contains(r.stderr, `path "nowhere" not found`) {
		t.Error(r)
	}
}

// buildClassic builds as docker's old builder's clients ask for it.
func (s *site) buildClassic(t *testing.T) {
	context, err := imagetest.Layer(imagetest.File{Path: "Dockerfile", Body: "FROM busybox:latest\nARG A\nRUN echo classic $A\n"}, imagetest.File{Path: "x", Body: "y"})
	if err != nil {
		t.Fatal(err)
	}
	status, text := s.post(t, `/v1.41/build?t=classic:1&buildargs={"A":"b"}`, bytes.NewReader(context))
	for _, want := range []string{`"Step 2/2 : RUN echo classic b\n"`, `"classic b\n"`, `{"aux":{"ID":"sha256:`, "Successfully built ", "Successfully tagged classic:1"} {
		if status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("no %s in %d %s", want, status, text)
		}
	}
	context, err = imagetest.Layer(imagetest.File{Path: "Dockerfile", Body: "FROM busybox:latest\nRUN exit 9\n"})
	if err != nil {
		t.Fatal(err)
	}
	if _, text := s.post(t, "/build", bytes.NewReader(context)); !strings.Contains(text, `"errorDetail":{"message":`) || !strings.Contains(text, "exit code: 9") {
		t.Errorf("a failing step: %s", text)
	}
}

// post sends a request of the Docker Engine API.
func (s *site) post(t *testing.T, path string, body io.Reader) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", "/run/tutti-"+s.instance()+"/tutti.sock")
	}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://docker"+strings.ReplaceAll(path, `"`, "%22"), body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// buildInterrupted ends a build with Ctrl-C: the step is gone with it, and nothing of it is left.
func (s *site) buildInterrupted(t *testing.T) {
	marker := fmt.Sprintf("%d.25", 40000+time.Now().Nanosecond()%10000)
	s.write("long/Dockerfile", "FROM busybox:latest\nRUN sleep "+marker+" & sleep "+marker+"\n")
	b := s.start("image", "build", "long")
	sleeping := func() bool { return strings.Contains(s.onHost("ps -eo args"), "sleep "+marker) }
	eventually(t, commandTimeout, func() error {
		if !sleeping() {
			return errors.New("the step does not run")
		}
		return nil
	})
	began := time.Now()
	b.signal(syscall.SIGINT)
	if r := b.wait(); r.code != 130 {
		t.Errorf("interrupted: exit code %d: %s", r.code, r)
	}
	eventually(t, commandTimeout, func() error {
		if sleeping() {
			return errors.New("the step runs on")
		}
		return nil
	})
	t.Logf("gone %v after the interrupt", time.Since(began).Round(time.Millisecond))
}
