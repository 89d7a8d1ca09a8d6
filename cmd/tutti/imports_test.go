package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	ImportPath, Doc                          string
	Imports, TestImports, XTestImports, Deps []string
}

func goPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,TestImports,XTestImports,Deps", "tutti/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// within tells whether a package is one of the roots or below one.
func within(path string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return path == root || strings.HasPrefix(path, root+"/") })
}

// mayImport says for each part of the program which other parts it may import. The parts below the scheduler do not
// know one another: they meet through values.
var mayImport = map[string][]string{
	"tutti/cmd/tutti-init":      {"tutti/runtime", "tutti/netdriver/portmap/relay"},
	"tutti/cmd/tutti":           {"tutti/scheduler", "tutti/project", "tutti/runtime"},
	"tutti/scheduler":           {"tutti/project", "tutti/netdriver", "tutti/dns", "tutti/volumes", "tutti/runtime"},
	"tutti/scheduler/api":       {},
	"tutti/scheduler/plan":      {"tutti/project"},
	"tutti/scheduler/supervise": {},
	"tutti/scheduler/journal":   {},
	"tutti/scheduler/proctable": {},
	"tutti/project":             {},
	"tutti/netdriver":           {},
	"tutti/dns":                 {},
	"tutti/volumes":             {},
	"tutti/runtime":             {},
	// The tests of the whole enter machines of their own, make images, and look into what a killed engine has left.
	"tutti/samples": {"tutti/netdriver/netns", "tutti/netdriver/probe", "tutti/runtime/image/imagetest", "tutti/runtime/statefile", "tutti/scheduler/container", "tutti/scheduler/api"},
}

// onlyIn names the only places where a module may be imported.
var onlyIn = map[string][]string{
	"github.com/vishvananda/netlink":     {"tutti/netdriver"},
	"github.com/coreos/go-iptables":      {"tutti/netdriver/portmap"},
	"github.com/godbus/dbus":             {"tutti/netdriver/portmap", "tutti/runtime/cgroup"},
	"github.com/spf13/cobra":             {"tutti/cmd"},
	"github.com/compose-spec/compose-go": {"tutti/project", "tutti/scheduler"},
	"github.com/containerd/containerd":   {"tutti/runtime/image", "tutti/runtime/build"},
	"github.com/moby/buildkit/control":   {"tutti/runtime/build"}, // its client's types travel further
	"github.com/moby/buildkit/solver":    {"tutti/runtime/build"},
	"github.com/moby/buildkit/worker":    {"tutti/runtime/build"},
}

// part is the most specific entry of mayImport for a package.
func part(path string) string {
	best := ""
	for p := range mayImport {
		if within(path, p) && len(p) > len(best) {
			best = p
		}
	}
	return best
}

// Imports must point downwards only.
func TestImports(t *testing.T) {
	for _, p := range goPackages(t) {
		from := part(p.ImportPath)
		if from == "" {
			t.Errorf("%s: no rule says what it may import", p.ImportPath)
			continue
		}
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			for module, places := range onlyIn {
				if within(imported, module) && !within(p.ImportPath, places...) {
					t.Errorf("%s imports %s, which only %v may", p.ImportPath, imported, places)
				}
			}
			if within(imported, "tutti") && part(imported) != from && !within(imported, from) && !within(imported, mayImport[from]...) {
				t.Errorf("%s imports %s, but may import %v only", p.ImportPath, imported, mayImport[from])
			}
		}
	}
}

// What lies below the scheduler must know nothing of compose files, not even through others; and the init that every
// container starts with must stay tiny.
func TestDependencies(t *testing.T) {
	for _, p := range goPackages(t) {
		for _, dep := range p.Deps {
			if within(p.ImportPath, "tutti/netdriver", "tutti/dns", "tutti/volumes", "tutti/runtime") && within(dep, "github.com/compose-spec") {
				t.Errorf("%s depends on %s", p.ImportPath, dep)
			}
			if p.ImportPath == "tutti/cmd/tutti-init" && strings.Contains(dep, ".") && !within(dep, "golang.org/x/sys/unix") && !within(dep, "vendor") {
				t.Errorf("%s depends on %s", p.ImportPath, dep)
			}
		}
	}
}

// Every package must say what it is for.
func TestPackageComments(t *testing.T) {
	for _, p := range goPackages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
