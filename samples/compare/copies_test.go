package compare

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const copySection = "cp"

// fixture makes one of everything in the folder that it is run in, with a word that tells the sides apart. It is sh's, of both
// busybox and the host.
const fixture = `
echo "$1 f" > f; chmod 640 f; chown 3:4 f
mkdir -p d/s e; echo "$1 x" > d/x; echo "$1 y" > d/s/y; chmod 750 d; chown 3:4 d d/s/y; chmod 700 e
echo suid > suid; chmod 4755 suid
ln -s f lf; ln -s d ld; ln -s nowhere dangling; ln -s self self; ln -s loop2 loop1; ln -s loop1 loop2; ln -s .. up; ln -s "$PWD/d" abs
ln d/x hard; mkfifo fifo
`

// copyTargets are where it is copied to.
func copyTargets() []string {
	return []string{
		"f", "f/", "d", "d/", "d/.", "e", "lf", "ld", "ld/", "ld/.", "dangling", "dangling/", "self", "loop1", "up", "abs", "fifo",
		"new", "new/", "new/.", "new/new", "d/new", "f/new", "",
	}
}

// copyCase is one copy: from names a file of the other side's fixture.
type copyCase struct {
	flags    []string
	from, to string
	out      bool // of the container
}

func (c copyCase) name(state string) string {
	way := "in"
	if c.out {
		way = "out"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %q to %q", state, way, strings.Join(c.flags, " "), c.from, c.to))
}

// copyCases are everything onto everything for the plainest sources, and fewer targets for the rest.
func copyCases() []copyCase {
	var all []copyCase
	few := []string{"new", "d", "f"}
	add := func(flags []string, sources, targets []string) {
		for _, out := range []bool{false, true} {
			for _, from := range sources {
				for _, to := range targets {
					all = append(all, copyCase{flags: flags, from: from, to: to, out: out})
				}
			}
		}
	}
	add(nil, []string{"f", "d", "lf", "dangling"}, copyTargets())
	add(nil, []string{"e", "suid", "self", "loop1", "abs", "hard", "fifo", "d/s", "ld/s", "missing/x", "f/x"}, few)
	add(nil, []string{"f/", "f/.", "d/", "d/.", "lf/", "lf/.", "ld/", "ld/.", "missing/"}, []string{"new", "new/", "d", "f", "self"})
	add([]string{"-L"}, []string{"f", "lf", "ld", "ld/", "ld/.", "dangling", "self", "abs", "d"}, append(few, "ld"))
	add([]string{"-a"}, []string{"f", "d", "lf", "suid", "d/."}, few)
	return all
}

// TestCopies copies everything onto everything, both ways, from and to containers that run and that do not.
func TestCopies(t *testing.T) {
	cases := copyCases()
	dir := t.TempDir()
	prepareCopies(t, dir, len(cases))
	for _, state := range []string{"running", "stopped"} {
		t.Run(state, func(t *testing.T) {
			rows := make([]*row, len(cases))
			parallel(len(cases), func(i int) {
				rows[i] = newRow(t, copySection, cases[i].name(state))
				cases[i].compare(t, rows[i], dir, state, i)
			})
			inside := map[*peer]map[string]entry{}
			for _, p := range []*peer{both.docker, both.tutti} {
				inside[p] = exported(t, p, "copies-"+state, filepath.Join(dir, p.name+"-"+state+".tar"))
			}
			for i, c := range cases {
				if !c.out {
					compareTrees(rows[i], below(inside[both.docker], fmt.Sprintf("/w/%d", i)), below(inside[both.tutti], fmt.Sprintf("/w/%d", i)))
				}
				rows[i].end()
			}
		})
	}
}

// prepareCopies makes an image with a fixture for each copy, and of it a container that runs and one that has ended.
func prepareCopies(t *testing.T, dir string, n int) {
	t.Helper()
	context := filepath.Join(dir, "context")
	if err := os.Mkdir(context, 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("FROM busybox:latest\nCOPY fixture /fixture\nRUN i=0; while [ $i -lt %d ]; do mkdir -p /w/$i && cd /w/$i && sh /fixture inside; i=$((i+1)); done\n", n)
	for name, body := range map[string]string{"Dockerfile": text, "fixture": fixture} {
		if err := os.WriteFile(filepath.Join(context, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	both.docker.must(t, "build", "-q", "-t", "copies", context)
	archive := filepath.Join(dir, "copies.tar")
	both.docker.must(t, "save", "-o", archive, "copies")
	both.tutti.must(t, "load", "-q", "-i", archive)
	file := filepath.Join(dir, "compose.yaml")
	if err := os.WriteFile(file, []byte(`
services:
  running: {image: copies, container_name: copies-running, network_mode: none, command: sleep 100000, init: true, user: "5:6"}
  stopped: {image: copies, container_name: copies-stopped, network_mode: none, command: "true", user: "5:6"}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	both.tutti.must(t, "-p", "copies", "-f", file, "up", "-d")
	both.docker.must(t, "run", "-d", "--name", "copies-running", "--network", "none", "--user", "5:6", "--init", "copies", "sleep", "100000")
	both.docker.must(t, "run", "--name", "copies-stopped", "--network", "none", "--user", "5:6", "copies", "true")
	both.tutti.must(t, "-p", "copies", "-f", file, "wait", "stopped")
	for _, p := range []*peer{both.docker, both.tutti} {
		t.Cleanup(func() { removeContainers(t, p, "copies", file, "copies-running", "copies-stopped") })
	}
	if err := makeFixture(filepath.Join(dir, "from/at")); err != nil {
		t.Fatal(err)
	}
}

// removeContainers removes what a test has made: in docker containers, in tutti a project.
func removeContainers(t *testing.T, p *peer, project, file string, names ...string) {
	t.Helper()
	args := append([]string{"rm", "-f", "-v"}, names...)
	if p == both.tutti {
		args = []string{"-p", project, "-f", file, "down", "-v", "-t", "0"}
	}
	if r, err := p.try(t.Context(), input{}, args...); err != nil || r.code != 0 {
		// The context of a test is done when it is cleaned up: what is left goes with the engines.
		return
	}
}

func makeFixture(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("sh", "-ec", fixture, "sh", "outside")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make a fixture: %w: %s", err, out)
	}
	return nil
}

// compare copies with both, and compares what they say. What a copy out has made is compared, too.
func (c copyCase) compare(t *testing.T, r *row, dir, state string, i int) {
	said := map[*peer]result{}
	made := map[*peer]map[string]entry{}
	for _, p := range []*peer{both.docker, both.tutti} {
		command := "cp"
		if p == both.tutti {
			command = "container cp"
		}
		args := append(strings.Fields(command), c.flags...)
		in := input{dir: filepath.Join(dir, "from/at")}
		if c.out {
			in.dir = filepath.Join(dir, state, p.name, itoa(i), "at")
			if err := makeFixture(in.dir); err != nil {
				t.Error(err)
				return
			}
			to := c.to
			if to == "" {
				to = "."
			}
			args = append(args, fmt.Sprintf("copies-%s:/w/%d/%s", state, i, c.from), to)
		} else {
			args = append(args, c.from, fmt.Sprintf("copies-%s:/w/%d/%s", state, i, c.to))
		}
		got, err := p.try(t.Context(), in, args...)
		if err != nil {
			got.stderr, got.code = "hangs", -1
			got.stdout = ""
		}
		said[p] = got
		if c.out {
			if made[p], err = hostTree(filepath.Dir(in.dir)); err != nil {
				t.Error(err)
			}
			delete(made[p], "/at/abs") // leads to a folder that has the engine's name in it
		}
	}
	d, u := said[both.docker], said[both.tutti]
	r.equal("exit code", itoa(d.code), itoa(u.code))
	r.equal("message", copyMessage(d.stderr, dir, state), copyMessage(u.stderr, dir, state))
	if c.out {
		compareTrees(r, made[both.docker], made[both.tutti])
	}
}

// copyMessage is what a copy says, without what differs by nature.
func copyMessage(text, dir, state string) string {
	text = strings.TrimPrefix(strings.TrimSpace(text), "Error response from daemon: ")
	for _, p := range []*peer{both.docker, both.tutti} {
		text = strings.ReplaceAll(text, filepath.Join(dir, state, p.name), "DIR")
	}
	return strings.ReplaceAll(text, dir, "DIR")
}

// exported is the file system of a container.
func exported(t *testing.T, p *peer, container, file string) map[string]entry {
	t.Helper()
	p.must(t, "container", "export", "-o", file, container)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tree, err := readTree(f)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// below is what is in a folder of a tree.
func below(tree map[string]entry, dir string) map[string]entry {
	part := map[string]entry{}
	for name, e := range tree {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok {
			part[rest] = e
		}
	}
	return part
}

// hostTree reads a folder of the host.
func hostTree(dir string) (map[string]entry, error) {
	out, err := exec.Command("tar", "-C", dir, "--format=posix", "--numeric-owner", "-cf", "-", ".").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, err
	}
	return readTree(strings.NewReader(string(out)))
}

// parallel runs f for each of n numbers, on twice as many threads as there are processors.
func parallel(n int, f func(i int)) {
	work := make(chan int)
	done := make(chan struct{})
	const workers = 4
	for range workers {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range work {
				f(i)
			}
		}()
	}
	for i := range n {
		work <- i
	}
	close(work)
	for range workers {
		<-done
	}
}
