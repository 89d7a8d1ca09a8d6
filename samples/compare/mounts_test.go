package compare

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const streamSection = "cp: streams, volumes, read-only"

// streamCase is one copy with the containers of TestStreams, "C" being the one that is meant. A copy in from "-" reads the
// archive; one that comes out to "-" is compared as one.
type streamCase struct {
	args    string
	archive string // a key of archives, "" for none
}

// streamCases are asked in this order: they build on one another.
var streamCases = []streamCase{
	{"- C:/w", "tree"},
	{"- C:/w", "gzip"},
	{"-a - C:/w", "tree"},
	{"- C:/w/f", "tree"},
	{"- C:/missing", "tree"},
	{"- C:/w/missing/", "tree"},
	{"- C:/", "tree"},
	{"- C:/w", "nonsense"},
	{"- C:/w", "cut"},
	{"- C:/w", "empty"},
	{"- C:/data", "tree"},
	{"- C:/data/d", "tree"},
	{"- C:/bind", "tree"},
	{"- C:/ro", "tree"},
	{"- C:/ro/d", "tree"},
	{"- C:/w/lf", "tree"},
	{"- C:/w/ld", "tree"},
	{"- C:/tmpfs", "tree"},
	{"f C:/data/f2", ""},
	{"f C:/data/", ""},
	{"d C:/data", ""},
	{"d C:/data/new", ""},
	{"d/. C:/data", ""},
	{"f C:/data/missing/f", ""},
	{"f C:/bind/f2", ""},
	{"d C:/bind", ""},
	{"f C:/ro/f2", ""},
	{"f C:/ro", ""},
	{"f C:/ro/f", ""},
	{"d C:/ro", ""},
	{"f C:/ro/d/x", ""},
	{"f C:/file", ""},
	{"f C:/rofile", ""},
	{"d C:/", ""},
	{"f C:/top", ""},
	{"f C:/toro", ""},
	{"f C:/toro/f3", ""},
	{"f C:/todata/f3", ""},
	{"C:/w -", ""},
	{"C:/w/. -", ""},
	{"C:/w/f -", ""},
	{"C:/w/lf -", ""},
	{"-L C:/w/lf -", ""},
	{"C:/w/ld -", ""},
	{"-L C:/w/ld -", ""},
	{"C:/w/dangling -", ""},
	{"-L C:/w/dangling -", ""},
	{"C:/w/missing -", ""},
	{"C:/w/f/ -", ""},
	{"C:/data -", ""},
	{"C:/data/. -", ""},
	{"C:/data/f -", ""},
	{"C:/data/d/s -", ""},
	{"C:/bind -", ""},
	{"C:/ro -", ""},
	{"C:/ro/f -", ""},
	{"C:/file -", ""},
	{"C:/rofile -", ""},
	{"C:/todata -", ""},
	{"C:/todata/f -", ""},
	{"-a C:/data -", ""},
	{"C:/data/f out1", ""},
	{"C:/data out2", ""},
	{"C:/ro out3", ""},
	{"C:/bind/d/s out4", ""},
	{"C:/todata/d out5", ""},
	{"- -", "tree"},
	{"C:/w C:/data", ""},
}

// TestStreams copies archives in and out, and into and out of volumes, folders of the host and what is read-only, with containers
// that run and that do not, with a root that may be written and one that may not.
func TestStreams(t *testing.T) {
	dir := t.TempDir()
	archives := prepareStreams(t, dir)
	for _, name := range []string{"running", "stopped", "readonly"} {
		for _, c := range streamCases {
			r := newRow(t, streamSection, name+" "+strings.TrimSpace(c.args+" "+c.archive))
			c.compare(t, r, dir, "streams-"+name, archives)
			r.end()
		}
		r := newRow(t, streamSection, name+", what was made")
		for _, at := range []string{"/w", "/data", "/bind"} {
			trees := map[*peer]map[string]entry{}
			for _, p := range []*peer{both.docker, both.tutti} {
				tree, err := readTree(strings.NewReader(p.must(t, "container", "cp", "streams-"+name+":"+at, "-")))
				if err != nil {
					t.Error(err)
				}
				trees[p] = tree
			}
			compareTrees(r, trees[both.docker], trees[both.tutti])
		}
		r.end()
	}
}

// prepareStreams makes the containers, and archives by name.
func prepareStreams(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	fixtureImage(t, dir, "streams", "RUN mkdir /w && cd /w && sh /fixture inside && ln -s /ro /toro && ln -s data /todata && mkdir /data && cd /data && sh /fixture volume\n")
	compose := "services:\n"
	for name, more := range map[string]string{"running": "command: sleep 100000", "stopped": "command: 'true'", "readonly": "command: sleep 100000, read_only: true"} {
		for _, p := range []*peer{both.docker, both.tutti} {
			host := filepath.Join(dir, p.name, name)
			if err := makeFixture(host); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(host, "abs")); err != nil { // it leads to a folder that has the engine's name in it
				t.Fatal(err)
			}
		}
		host := filepath.Join(dir, "tutti", name)
		compose += fmt.Sprintf("  %s: {image: streams, container_name: streams-%s, network_mode: none, init: true, %s, volumes: [%q, %q, %q, %q, %q], tmpfs: /tmpfs}\n",
			name, name, more, "/data", host+":/bind", host+":/ro:ro", host+"/f:/file", host+"/f:/rofile:ro")
		host = filepath.Join(dir, "docker", name)
		args := []string{
			"run", "-d", "--name", "streams-" + name, "--network", "none", "--init", "-v", "/data", "-v", host + ":/bind", "-v", host + ":/ro:ro",
			"-v", host + "/f:/file", "-v", host + "/f:/rofile:ro", "--tmpfs", "/tmpfs",
		}
		if name == "readonly" {
			args = append(args, "--read-only")
		}
		if args = append(args, "streams", "sleep", "100000"); name == "stopped" {
			args = append(args[:len(args)-2], "true")
		}
		both.docker.must(t, args...)
	}
	file := filepath.Join(dir, "compose.yaml")
	if err := os.WriteFile(file, []byte(compose), 0o600); err != nil {
		t.Fatal(err)
	}
	both.tutti.must(t, "-p", "streams", "-f", file, "up", "-d")
	both.tutti.must(t, "-p", "streams", "-f", file, "wait", "stopped")
	both.docker.must(t, "wait", "streams-stopped")
	cleanContainers(t, "streams", file, "streams-running", "streams-stopped", "streams-readonly")
	return streamArchives(t, dir)
}

// streamArchives are a fixture as a tar, without the link to the folder above, which docker refuses in an archive: plain and compressed, one that ends too soon, and what is no archive.
func streamArchives(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	from := filepath.Join(dir, "from", "at")
	if err := makeFixture(from); err != nil {
		t.Fatal(err)
	}
	archive := func(flags string) []byte {
		out, err := exec.Command("tar", "-C", from, "--numeric-owner", "--exclude=./abs", "--exclude=./up", flags, "-", ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	tree := archive("-cf")
	return map[string][]byte{"tree": tree, "gzip": archive("-czf"), "cut": tree[:700], "nonsense": []byte(strings.Repeat("no archive\n", 100)), "empty": nil}
}

// compare copies with both and compares what they say, and the archive or the files that come out.
func (c streamCase) compare(t *testing.T, r *row, dir, container string, archives map[string][]byte) {
	t.Helper()
	said, made := map[*peer]result{}, map[*peer]map[string]entry{}
	for _, p := range []*peer{both.docker, both.tutti} {
		args := []string{"container", "cp"}
		for a := range strings.FieldsSeq(c.args) {
			args = append(args, strings.Replace(a, "C:", container+":", 1))
		}
		in := input{dir: filepath.Join(dir, "out", container, p.name)}
		if _, err := os.Stat(in.dir); err != nil {
			if err := makeFixture(in.dir); err != nil {
				t.Fatal(err)
			}
		}
		if c.archive != "" {
			in.stdin = bytes.NewReader(archives[c.archive])
		}
		got, err := p.try(t.Context(), in, args...)
		if err != nil {
			got.stdout, got.stderr, got.code = "", "hangs", -1
		}
		said[p] = got
		if strings.HasSuffix(c.args, " -") && got.code == 0 {
			made[p], err = readTree(strings.NewReader(got.stdout))
		} else {
			made[p], err = hostTree(in.dir)
			delete(made[p], "/abs")
		}
		if err != nil {
			t.Error(err)
		}
	}
	d, u := said[both.docker], said[both.tutti]
	r.equal("exit code", itoa(d.code), itoa(u.code))
	r.equal("message", copyMessage(d.stderr, dir, dir), copyMessage(u.stderr, dir, dir))
	compareTrees(r, made[both.docker], made[both.tutti])
}
