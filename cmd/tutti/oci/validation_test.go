//go:build validation

package oci

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/oci.md")

// suite is the module that has the validation suite; testdata/validation pins its version.
const suite = "github.com/opencontainers/runtime-tools"

// failing says which programs of the suite may fail, with how many points "not ok",
// and why that is not for this runtime to mend. Everything else must pass.
var failing = map[string]struct {
	points int
	why    string
}{
	"delete":                         {2, "It wants `delete` of a created container to fail. runc and crun delete it, and containerd's shim relies on that."},
	"delete_resources":               {1, "A fault of the suite: it compares two pointers instead of the limits they point to."},
	"linux_cgroups_blkio":            {0, "It limits device 8:0, which must exist on the host."},
	"linux_cgroups_hugetlb":          {0, "The host needs the v1 controller hugetlb, and pages of 1 GB."},
	"linux_cgroups_memory":           {6, "Linux from 5.16 on ignores limits of kernel memory on cgroup v1; they are deprecated in the specification too."},
	"linux_cgroups_network":          {0, "The host needs the v1 controllers net_cls and net_prio."},
	"linux_cgroups_pids":             {1, "As delete_resources."},
	"linux_cgroups_relative_blkio":   {1, "As linux_cgroups_blkio."},
	"linux_cgroups_relative_hugetlb": {2, "As linux_cgroups_hugetlb."},
	"linux_cgroups_relative_memory":  {1, "As linux_cgroups_memory."},
	"linux_cgroups_relative_network": {1, "As linux_cgroups_network."},
	"linux_cgroups_relative_pids":    {1, "As delete_resources."},
	"linux_process_apparmor_profile": {0, "The host needs AppArmor, with a profile acme_secure_profile."},
	"misc_props":                     {1, "A fault of the suite: it starts a program that it has not put into the root file system."},
	"pidfile":                        {1, "A fault of the suite: it kills a program, `true`, that has ended long before."},
	"process_capabilities":           {0, "It gives all capabilities. Where the caller lacks one (in a container, CAP_SYS_RESOURCE here), the runtime refuses, as runc and crun do."},
	"process_capabilities_fail":      {0, "It wants an unknown capability to be an error. The specification wants a warning since version 1.0.2."},
	"process_rlimits":                {1, "A fault of the suite: its program is a Go program, whose runtime raises its own limit of open files."},
	"start":                          {1, "It waits for a container that has no process, and so was never created, to stop."},
}

// verdict is how a program of the suite ended.
type verdict struct {
	name      string
	ok, notOK int
	err       error
	output    string
}

func (v verdict) passed() bool { return v.err == nil && v.notOK == 0 }

// TestValidationSuite runs the validation suite of the specification: a third
// party's opinion of this runtime.
func TestValidationSuite(t *testing.T) {
	checkTable(t)
	p := newPlace(t)
	t.Cleanup(func() { removeGroups(t, p) })
	p.prepareSuite()
	programs, err := filepath.Glob(p.dir + "/suite/*")
	if err != nil {
		t.Fatal(err)
	}
	queues := [4][]string{} // those that use the same cgroups are in one
	for i, path := range programs {
		name := filepath.Base(path)
		switch {
		case name == "runtimetest" || strings.HasPrefix(name, "rootfs-"):
		case strings.HasPrefix(name, "linux_cgroups") || strings.HasPrefix(name, "delete_"):
			queues[0] = append(queues[0], name)
		default:
			queues[1+i%3] = append(queues[1+i%3], name)
		}
	}
	var verdicts []verdict
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, queue := range queues {
		all.Go(func() {
			for _, name := range queue {
				v := p.judge(name)
				mu.Lock()
				verdicts = append(verdicts, v)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	check(t, verdicts)
}

func check(t *testing.T, verdicts []verdict) {
	t.Helper()
	passed, notOK := 0, 0
	slices.SortFunc(verdicts, func(a, b verdict) int { return strings.Compare(a.name, b.name) })
	for _, v := range verdicts {
		notOK += v.notOK
		if v.passed() {
			passed++
			continue
		}
		may, known := failing[v.name]
		if !known || v.notOK > may.points {
			t.Errorf("%s: %d points are not ok (%d may be), %v\n%s", v.name, v.notOK, may.points, v.err, v.output[max(0, len(v.output)-2000):])
		}
	}
	t.Logf("%d of %d programs pass, %d points are not ok", passed, len(verdicts), notOK)
	if len(verdicts) != 58 {
		t.Errorf("%d programs, the suite has 58", len(verdicts))
	}
}

// prepareSuite builds the programs, and a runtime that has our root folder.
func (p *place) prepareSuite() {
	p.t.Helper()
	dir := filepath.Join(p.dir, "suite")
	goTool := func(args ...string) string {
		cmd := exec.CommandContext(context.Background(), "go", args...)
		cmd.Dir = "testdata/validation"
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
		out, err := cmd.CombinedOutput()
		if err != nil {
			p.t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	goTool("build", "-o", dir+"/", suite+"/validation/...", suite+"/cmd/runtimetest")
	rootfs := "rootfs-" + goTool("env", "GOARCH") + ".tar.gz"
	copyFile(p.t, filepath.Join(goTool("list", "-m", "-f", "{{.Dir}}", suite), rootfs), filepath.Join(dir, rootfs))
	wrapper := fmt.Sprintf("#!/bin/sh\nexec %s --root %s \"$@\"\n", p.program, p.root)
	if err := os.WriteFile(filepath.Join(p.dir, "runtime"), []byte(wrapper), 0o755); err != nil {
		p.t.Fatal(err)
	}
}

// judge runs one program. Its bundles are made in our folder.
func (p *place) judge(name string) verdict {
	cmd := exec.CommandContext(context.Background(), "./"+name)
	cmd.Dir = filepath.Join(p.dir, "suite")
	cmd.Env = append(os.Environ(), "RUNTIME="+filepath.Join(p.dir, "runtime"), "TMPDIR="+p.dir)
	out, err := os.CreateTemp(p.dir, "tap")
	if err != nil {
		return verdict{name: name, err: err}
	}
	defer out.Close() //nolint:errcheck // read below
	cmd.Stdout, cmd.Stderr = out, out
	v := verdict{name: name, err: cmd.Run()}
	b, err := os.ReadFile(out.Name())
	if err != nil {
		v.err = err
	}
	v.output = string(b)
	for line := range strings.Lines(v.output) {
		if strings.HasPrefix(line, "ok ") {
			v.ok++
		} else if strings.HasPrefix(line, "not ok ") {
			v.notOK++
		}
	}
	return v
}

// removeGroups removes cgroups of the suite's, which it leaves.
func removeGroups(t *testing.T, p *place) {
	t.Helper()
	p.clean()
	for _, pattern := range []string{"cgrouptest", "testdir", "tutti-oci-*/testdir", "*/cgrouptest", "*/testdir", "*/tutti-oci-*/testdir"} {
		groups, err := filepath.Glob("/sys/fs/cgroup/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			var dirs []string
			_ = filepath.WalkDir(g, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for _, d := range slices.Backward(dirs) {
				_ = os.Remove(d) // fails for one in use, by somebody else
			}
			_ = os.Remove(filepath.Dir(g)) // our parent, if that is what it is: others are never empty
		}
	}
}

// checkTable compares the table of docs/oci.md with failing, or writes it.
func checkTable(t *testing.T) {
	t.Helper()
	const file, begin, end = "../../../docs/oci.md", "<!-- verdicts -->\n", "<!-- end of verdicts -->\n"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %s", file, begin)
	}
	var want strings.Builder
	want.WriteString("| program | points not ok | why |\n|---|---|---|\n")
	names := []string{}
	for name := range failing {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		points := fmt.Sprint(failing[name].points)
		if points == "0" {
			points = "none, exit status 1"
		}
		fmt.Fprintf(&want, "| %s | %s | %s |\n", name, points, failing[name].why)
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+want.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if table != want.String() {
		t.Errorf("%s: its table is not that of this test: make oci-validation UPDATE=1 writes it", file)
	}
}
