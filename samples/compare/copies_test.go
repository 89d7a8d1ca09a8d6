package compare

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const copySection = "cp"

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
	fixtureImage(t, dir, "copies", fmt.Sprintf("RUN i=0; while [ $i -lt %d ]; do mkdir -p /w/$i && cd /w/$i && sh /fixture inside; i=$((i+1)); done\n", n))
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
	cleanContainers(t, "copies", file, "copies-running", "copies-stopped")
	if err := makeFixture(filepath.Join(dir, "from/at")); err != nil {
		t.Fatal(err)
	}
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
	r.equal("message", copyMessage(d.stderr, dir, filepath.Join(dir, state)), copyMessage(u.stderr, dir, filepath.Join(dir, state)))
	if c.out {
		compareTrees(r, made[both.docker], made[both.tutti])
	}
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
