package project

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const oneOffFile = `
name: demo
services:
  app:
    image: app
    command: [serve, --fast]
    entrypoint: [/entry]
    environment: {A: file, B: file}
    ports: ["80:80"]
    volumes: ["data:/data", "/etc:/mnt"]
    restart: always
    cap_add: [NET_ADMIN]
    cap_drop: [CHOWN]
    deploy: {restart_policy: {condition: any}}
volumes: {data: {}}
`

func oneOffProject(t *testing.T) *Project {
	t.Helper()
	path := filepath.Join(t.TempDir(), "compose.yaml")
	if err := os.WriteFile(path, []byte(oneOffFile), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Load(t.Context(), Options{Files: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The flags of run must change the one container, and nothing about the project.
func TestWithOneOff(t *testing.T) {
	t.Parallel()
	p := oneOffProject(t)
	before := string(p.Canonical("app"))
	out, err := p.WithOneOff(OneOff{
		Service: "app", Command: []string{"sh"}, Env: []string{"B=flag", "C=x=y"}, User: "me", WorkingDir: "/w", Name: "n",
		Volumes: []string{"./here:/data:ro", "v:/v", "new:/new", "/anonymous"}, Dir: "/work", Publish: []string{"8080:80/udp"},
		Labels: map[string]string{"l": "1"}, CapAdd: []string{"CHOWN"}, CapDrop: []string{"NET_ADMIN"}, TTY: true, Interactive: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := out.Services["app"]
	env := s.Environment
	switch {
	case strings.Join(s.Command, " ") != "sh", strings.Join(s.Entrypoint, " ") != "/entry", s.User != "me", s.WorkingDir != "/w", s.ContainerName != "n":
		t.Errorf("process: %+v", s)
	case *env["A"] != "file", *env["B"] != "flag", *env["C"] != "x=y":
		t.Errorf("environment: %v", env)
	case len(s.Ports) != 1, s.Ports[0].Published != "8080", s.Ports[0].Protocol != "udp":
		t.Errorf("ports: %+v", s.Ports)
	case s.Restart != "", s.Deploy.RestartPolicy != nil, !s.Tty, !s.StdinOpen, s.Labels["l"] != "1":
		t.Errorf("%+v", s)
	case !slices.Equal(s.CapAdd, []string{"CHOWN"}), !slices.Equal(s.CapDrop, []string{"NET_ADMIN"}):
		t.Errorf("capabilities: %v, %v", s.CapAdd, s.CapDrop)
	}
	var mounts []string
	for _, v := range s.Volumes {
		mounts = append(mounts, v.Type+" "+v.Source+" "+v.Target)
	}
	want := []string{"bind /etc /mnt", "bind /work/here /data", "volume v /v", "volume new /new", "volume  /anonymous"}
	if !slices.Equal(mounts, want) || out.Volumes["v"].Name != "v" || out.Volumes["data"].Name != "demo_data" {
		t.Errorf("volumes: %q, want %q; %v", mounts, want, out.Volumes)
	}
	if after := string(p.Canonical("app")); after != before || len(p.Volumes) != 1 {
		t.Errorf("the project itself has changed:\n%s\n%s", before, after)
	}
}

func TestWithOneOffEntrypointAndPorts(t *testing.T) {
	t.Parallel()
	p := oneOffProject(t)
	out, err := p.WithOneOff(OneOff{Service: "app", Entrypoint: []string{"true"}, ServicePorts: true})
	if err != nil {
		t.Fatal(err)
	}
	if s := out.Services["app"]; len(s.Command) != 0 || s.Command == nil || strings.Join(s.Entrypoint, " ") != "true" || len(s.Ports) != 1 {
		t.Errorf("command %v, entrypoint %v, ports %v", s.Command, s.Entrypoint, s.Ports)
	}
	if out, err = p.WithOneOff(OneOff{Service: "app"}); err != nil || len(out.Services["app"].Ports) != 0 || len(out.Services["app"].Command) != 2 {
		t.Errorf("%v: %+v", err, out.Services["app"])
	}
	for _, bad := range []OneOff{
		{Service: "other"}, {Service: "app", Publish: []string{"a:b:c:d"}}, {Service: "app", Volumes: []string{"/a:relative"}}, {Service: "app", Volumes: []string{""}},
	} {
		if _, err := p.WithOneOff(bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestReadEnv(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("A=file\nB=\"file ${HOME}\"\n# remark\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lookup := func(name string) (string, bool) { return "/home", name == "HOME" }
	got, err := ReadEnv([]string{"A=flag", "HOME", "UNSET", "EMPTY="}, []string{file}, lookup)
	want := []string{"A=flag", "B=file /home", "EMPTY=", "HOME=/home"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if _, err := ReadEnv(nil, []string{file + "x"}, lookup); err == nil || !strings.Contains(err.Error(), file+"x") {
		t.Errorf("a missing file: %v", err)
	}
}
