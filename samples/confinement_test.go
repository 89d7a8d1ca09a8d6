package samples

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"tutti/runtime/image/imagetest"
	"tutti/samples/testdata/probe/facts"
)

// factsFile lets the table be made of another engine's container, to see that its column of docker's defaults is true:
//
//	CGO_ENABLED=0 go build -o probe ./samples/testdata/probe
//	docker run --rm -v $PWD/probe:/probe:ro busybox /probe '{"Masked":[...],"ReadOnly":[...]}' > facts.json
//	go test ./samples -run TestDefaultContainer -facts $PWD/facts.json -v
var factsFile = flag.String("facts", "", "judge the facts in this file, which the probe wrote in a container of docker's")

const (
	securityPage  = "../docs/security.md"
	beginDefaults = "<!-- begin: defaults. Written by: go test ./samples -run TestDefaultContainer -update -->"
	endDefaults   = "<!-- end: defaults -->"
)

// The default container must equal docker's or be stricter, in everything that the probe sees; so must a privileged one,
// and one without capabilities. docs/security.md says what was seen.
func TestDefaultContainer(t *testing.T) {
	t.Parallel()
	if *factsFile != "" {
		var f facts.Facts
		decode(t, string(read(t, *factsFile)), &f)
		t.Log("\n" + table("what | docker documents | this container | verdict", newJudge(t, &f, &f, dockerCaps).all()))
		return
	}
	s := probeSite(t)
	s.timeout = buildTimeout // it tries every system call
	q, err := json.Marshal(request())
	if err != nil {
		t.Fatal(err)
	}
	s.write("compose.yaml", `
x-probe: &probe
  image: probe:latest
  command: ['`+string(q)+`']
services:
  default: *probe
  privileged: {<<: *probe, privileged: true}
  hardened: {<<: *probe, cap_drop: [ALL], security_opt: ["no-new-privileges:true"]}
  idle: {image: probe:latest, command: [wait]}
`)
	s.must("up", "-d")
	seen := func(service string) *facts.Facts {
		var f facts.Facts
		decode(t, s.must("logs", "--follow", "--no-log-prefix", service), &f)
		return &f
	}
	var entered facts.Facts
	decode(t, s.must("exec", "-T", "idle", "/probe", string(q)), &entered)
	normal := newJudge(t, seen("default"), &entered, dockerCaps)
	normal.limits = limitsOf(t, s.engine())
	normal.keyrings = string(read(t, "/proc/keys"))
	normal.id = strings.TrimSpace(s.must("ps", "--quiet", "--no-trunc", "idle"))
	rows := normal.all()
	special := append(judgePrivileged(t, seen("privileged")), judgeHardened(t, seen("hardened"))...)
	for _, r := range append(slices.Clip(rows), special...) {
		if r.verdict != equal && r.verdict != stricter {
			t.Errorf("%s: docker: %s; tutti: %s: %s", r.what, r.docker, r.tutti, r.verdict)
		}
	}
	text := table("what | docker's default | tutti's default, as observed | verdict", rows) +
		"\nThe same, in short, with `privileged: true`, and with `cap_drop: [ALL]` and `no-new-privileges`:\n\n" +
		table("what | docker | tutti, as observed | verdict", special)
	if runtime.GOARCH == "amd64" { // system calls have other names elsewhere
		checkPage(t, text)
	}
}

// checkPage compares the part of docs/security.md between the markers, or writes it.
func checkPage(t *testing.T, text string) {
	t.Helper()
	page := string(read(t, securityPage))
	before, rest, found := strings.Cut(page, beginDefaults)
	old, after, ended := strings.Cut(rest, endDefaults)
	if !found || !ended {
		t.Fatalf("%s has no place for the table: %s ... %s", securityPage, beginDefaults, endDefaults)
	}
	text = "\n" + text
	if *update {
		if err := os.WriteFile(securityPage, []byte(before+beginDefaults+text+endDefaults+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != text {
		t.Errorf("%s is out of date; run this test with -update. It should be:\n%s", securityPage, text)
	}
}

// probeSite is a site whose image "probe:latest" holds nothing but the probe.
func probeSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t, newMachine(t))
	program := filepath.Join(t.TempDir(), "probe")
	compile := exec.Command("go", "build", "-o", program, "./testdata/probe")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("build the probe: %v\n%s", err, out)
	}
	image := imagetest.Image{Names: []string{"probe:latest"}, Layers: [][]imagetest.File{{
		{Path: "probe", Body: string(read(t, program)), Mode: 0o755},
	}}}
	image.Config.Entrypoint = []string{"/probe"}
	var archive bytes.Buffer
	if err := imagetest.DockerArchive(&archive, image); err != nil {
		t.Fatal(err)
	}
	s.write("probe.tar", archive.String())
	s.must("image", "load", "--input", filepath.Join(s.dir, "probe.tar"))
	return s
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t testing.TB, text string, f *facts.Facts) {
	t.Helper()
	if err := json.NewDecoder(strings.NewReader(text)).Decode(f); err != nil { // `logs --follow` adds how the container ended
		t.Fatalf("what the probe said: %v\n%.2000s", err, text)
	}
	if len(f.Calls["native"]) == 0 {
		t.Fatalf("the probe could not ask for verdicts on system calls: %v", f.Acts)
	}
}
