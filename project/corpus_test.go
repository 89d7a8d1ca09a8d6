package project_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"tutti/project"
)

var update = flag.Bool("update", false, "write the golden files anew")

// corpus lists compose files that together use every attribute people use.
func corpus(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/corpus/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("corpus has %d files: %v", len(files), err)
	}
	return files
}

func loadFile(t *testing.T, file string, change ...func(*project.Options)) *project.Project {
	t.Helper()
	o := project.Options{Files: []string{file}, Environ: []string{"FROM_SHELL=shellvalue", "HOME=/root", "EMPTY_VAR="}}
	for _, c := range change {
		c(&o)
	}
	p, err := project.Load(t.Context(), o)
	if err != nil {
		t.Fatalf("load %s: %v", file, err)
	}
	return p
}

// What `config` prints was compared with docker compose v5.6.0 for every file; they
// differ only where that refuses old formats or takes d:/letter for a Windows path.
func TestConfigMatchesGolden(t *testing.T) {
	here, err := filepath.Abs("testdata/corpus")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range corpus(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			got, err := loadFile(t, file).Render("yaml")
			if err != nil {
				t.Fatal(err)
			}
			got = bytes.ReplaceAll(got, []byte(here), []byte("/corpus"))
			compareGolden(t, filepath.Join("testdata", "config", filepath.Base(file)), got)
		})
	}
}

func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// A project that went over the wire equals the original in every exported field but the
// environment, hashes the same and renders the same, secrets included.
func TestEncodeIsLossless(t *testing.T) {
	for _, file := range corpus(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			p := loadFile(t, file)
			b, err := p.Encode()
			if err != nil {
				t.Fatal(err)
			}
			back, err := project.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			if back.Environment != nil || bytes.Contains(b, []byte("EMPTY_VAR")) {
				t.Error("the user's environment went over the wire")
			}
			want := *p.Project
			want.Environment = nil
			dates(want.Extensions)
			if !reflect.DeepEqual(&want, back.Project) {
				t.Errorf("decoded project differs:\n%#v\n%#v", &want, back.Project)
			}
			sameOutput(t, p, back)
			again, err := back.Encode()
			if err != nil || !bytes.Equal(again, b) {
				t.Errorf("second encoding differs from the first (%v)", err)
			}
		})
	}
}

// dates become text on the wire.
func dates(x map[string]any) {
	if top, ok := x["x-top"].(map[string]any); ok {
		if date, ok := top["date"].(interface{ String() string }); ok {
			top["date"] = date.String()
		}
	}
}

func sameOutput(t *testing.T, p, back *project.Project) {
	t.Helper()
	for _, format := range []string{"yaml", "json"} {
		one, err1 := p.Render(format)
		two, err2 := back.Render(format)
		if !bytes.Equal(one, two) || (err1 == nil) != (err2 == nil) {
			t.Errorf("%s differs (%v, %v):\n%s\n%s", format, err1, err2, one, two)
		}
	}
	for _, name := range p.ServiceNames() {
		if p.Hash(name) != back.Hash(name) {
			t.Errorf("hash of %s differs", name)
		}
	}
	for key := range p.Networks {
		if p.NetworkHash(key) != back.NetworkHash(key) {
			t.Errorf("hash of network %s differs", key)
		}
	}
	for key := range p.Volumes {
		if p.VolumeHash(key) != back.VolumeHash(key) {
			t.Errorf("hash of volume %s differs", key)
		}
	}
	if !reflect.DeepEqual(p.Warnings(), back.Warnings()) || !reflect.DeepEqual(p.Graph(), back.Graph()) {
		t.Error("warnings or graph differ")
	}
	for _, name := range p.ServiceNames() {
		f1, l1 := p.Position("services", name, "image")
		if f2, l2 := back.Position("services", name, "image"); f1 != f2 || l1 != l2 || l1 == 0 {
			t.Errorf("position of %s is %s:%d, was %s:%d", name, f2, l2, f1, l1)
		}
	}
}

// notLoadable says why the output of config for a file is refused, by docker compose
// too: faults of the library's output.
var notLoadable = map[string]string{
	"build-ssh.yaml":       "an ssh key with a path is printed as a mapping in a string",
	"depends-long.yaml":    "a dependency on a disabled service is printed, the service is not",
	"jobs.yaml":            "names of jobs are printed, which the schema refuses",
	"provider-models.yaml": "names of models are printed, which the schema refuses",
}

// Loading what config printed gives the same output again.
func TestConfigLoadsAgain(t *testing.T) {
	for _, file := range corpus(t) {
		if notLoadable[filepath.Base(file)] != "" {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			p := loadFile(t, file)
			out, err := p.Render("yaml")
			if err != nil {
				t.Fatal(err)
			}
			again := loadFile(t, "-", func(o *project.Options) {
				o.Stdin = bytes.NewReader(out)
				o.ProjectDir = p.WorkingDir
				o.Profiles = []string{"*"}
			})
			second, err := again.Render("yaml")
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out, second) {
				t.Errorf("printed\n%s\nthen\n%s", out, second)
			}
		})
	}
}

func TestNoInterpolateKeepsVariablesAndSecrets(t *testing.T) {
	for _, file := range corpus(t) {
		m, err := project.Model(t.Context(), project.Options{Files: []string{file}, Environ: []string{"FROM_SHELL=shellvalue"}})
		if err != nil {
			t.Fatal(err)
		}
		out, err := project.RenderModel(m, "yaml")
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(out, []byte("shellvalue")) {
			t.Errorf("%s: the environment leaked:\n%s", file, out)
		}
	}
}
