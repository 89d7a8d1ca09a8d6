package compare

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tutti/netdriver/netns"
	"tutti/samples/dockerfiles"
)

const dockerfileSection = "Dockerfiles"

// Each Dockerfile of the table is built by both: configuration, history and files of the images are compared, and what they do.
func TestDockerfiles(t *testing.T) {
	for _, p := range []*peer{both.docker, both.tutti} {
		serve(t, p.room)
	}
	dir := t.TempDir()
	for i, d := range dockerfiles.Rows() {
		d.Text = strings.ReplaceAll(d.Text, "{{SERVER}}", dockerfiles.Server)
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			b := buildRow{Row: d, row: newRow(t, dockerfileSection, d.Name), tag: fmt.Sprintf("row:%d", i), dir: filepath.Join(dir, itoa(i))}
			b.compare(t)
			b.row.end()
		})
	}
}

// serve answers what rows fetch, in a room.
func serve(t *testing.T, r *room) {
	t.Helper()
	ns, err := netns.Open(fmt.Sprintf("/proc/%d/ns/net", r.pid()))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	stop, err := dockerfiles.Listen(ns.Do, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// buildRow is one Dockerfile on its way through both.
type buildRow struct {
	dockerfiles.Row
	row *row
	tag string
	dir string
}

func (b buildRow) compare(t *testing.T) {
	context, err := b.WriteContext(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	docker := b.build(t, both.docker, context)
	tutti := b.build(t, both.tutti, context)
	if b.Code == dockerfiles.Fails {
		b.row.equal("failing", fmt.Sprint(docker.code != 0), fmt.Sprint(tutti.code != 0))
		b.row.equal("error", lastLine(docker.stderr), lastLine(tutti.stderr))
		return
	}
	if tutti.code != 0 {
		t.Fatalf("tutti builds nothing: %s", tutti)
	}
	out := b.runTutti(t)
	if out.stdout != b.Want || out.code != b.Code {
		t.Errorf("tutti's image: want %q, exit code %d, and got %s", b.Want, b.Code, out)
	}
	if docker.code != 0 {
		b.row.unable(lastLine(docker.stderr))
		return
	}
	theirs := b.runDocker(t)
	b.row.equal("output", theirs.stdout, out.stdout)
	b.row.equal("exit code", itoa(theirs.code), itoa(out.code))
	compareImages(t, b.row, saved(t, both.docker, filepath.Join(b.dir, "docker.tar"), b.tag), saved(t, both.tutti, filepath.Join(b.dir, "tutti.tar"), b.tag))
}

func (b buildRow) build(t *testing.T, p *peer, context string) result {
	t.Helper()
	args := []string{"image", "build", "-t", b.tag}
	if builder != "classic" || p == both.tutti {
		args = append(args, "--progress", "plain")
	}
	if builder == "buildx" && p == both.docker {
		args = append(args, "--load", "--provenance=false")
	}
	args = append(args, b.Arguments(b.dir)...)
	return p.runWith(t, input{dir: b.dir}, append(args, context)...)
}

func (b buildRow) runDocker(t *testing.T) result {
	t.Helper()
	args := []string{"run", "--rm", "--network", "none"}
	if b.Run == "" {
		return both.docker.run(t, append(args, b.tag)...)
	}
	return both.docker.run(t, append(args, "--entrypoint", "/bin/sh", b.tag, "-c", b.Run)...)
}

// runTutti runs the image as the only service of a project of its own.
func (b buildRow) runTutti(t *testing.T) result {
	t.Helper()
	service := map[string]any{"image": b.tag, "network_mode": "none"}
	if b.Run != "" {
		service["entrypoint"] = []string{"/bin/sh", "-c", strings.ReplaceAll(b.Run, "$", "$$")}
	}
	text, err := json.Marshal(map[string]any{"services": map[string]any{"s": service}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(b.dir, "compose.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r := both.tutti.run(t, "-p", strings.ReplaceAll(b.tag, ":", ""), "-f", file, "run", "--rm", "-T", "--quiet", "s")
	return r
}

// lastLine is the error itself.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := lines[len(lines)-1]
	for _, prefix := range []string{"ERROR: ", "error: ", "build: ", "Error response from daemon: ", "failed to build: ", "failed to solve: ", "failed to solve with frontend dockerfile.v0: ", "failed to create LLB definition: "} {
		last = strings.TrimPrefix(last, prefix)
	}
	return ref.ReplaceAllString(last, "ref REF")
}

// ref is the name of a context within BuildKit, another in each build.
var ref = regexp.MustCompile(`ref [a-z0-9]+::[a-z0-9]+`)
