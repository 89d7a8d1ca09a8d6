package samples

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tutti/scheduler/api"
)

// check runs `system check` and returns its report. The exit code must fit it.
func (s *site) soundness(args ...string) api.CheckReport {
	s.t.Helper()
	r := s.run(append([]string{"system", "check", "--format", "json"}, args...)...)
	var report api.CheckReport
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		s.t.Fatalf("%v: %s", err, r)
	}
	if want := map[bool]int{true: 0, false: 2}[report.Open() == 0]; r.code != want {
		s.t.Errorf("exit code %d, want %d: %s", r.code, want, r)
	}
	return report
}

// mustBeSound fails the test when a check finds anything.
func (s *site) mustBeSound(when string) {
	s.t.Helper()
	for _, f := range s.soundness().Findings {
		s.t.Errorf("%s: %s: %s: %s", when, f.Area, f.Object, f.Problem)
	}
}

// Everything that can be damaged is, one after the other: the check says so and changes nothing, the repair mends it, and
// what runs goes on.
func TestSystemCheck(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
name: sound
services:
  web:
    build: {context: ., dockerfile_inline: "FROM busybox\nRUN echo built > /built\nCMD [\"sleep\", \"infinity\"]\n"}
    volumes: ["data:/data"]
  idle: {image: busybox:latest, command: "true"}
volumes: {data: {driver_opts: {type: tmpfs, device: tmpfs}}}
`)
	s.write("plain.yaml", "name: plain\nservices: {app: {image: busybox, command: \"true\", volumes: [\"kept:/data\"]}}\nvolumes: {kept: }\n")
	s.must("up", "-d", "--build")
	s.must("-f", "plain.yaml", "up")
	s.state("idle", "exited")
	s.mustBeSound("before any damage")
	pid := s.identities()["web"]
	if pid == "" {
		t.Fatal("web does not run")
	}
	images := filepath.Join(s.root, "images")
	var idle string
	for id, rec := range s.records() {
		if rec.Service == "idle" {
			idle = filepath.Join(s.root, "containers", id)
		}
	}
	for _, c := range []struct {
		name   string
		damage func() error
		area   string
		text   string
	}{
		{"an unknown blob", func() error {
			return old(filepath.Join(images, "content/blobs/sha256", strings.Repeat("ab", 32)), os.WriteFile, time.Hour)
		}, "images", "content that nobody knows"},
		{"an orphaned layer folder", func() error {
			dir := filepath.Join(images, "snapshots", "99999")
			return errors.Join(os.MkdirAll(filepath.Join(dir, "fs", "x"), 0o755), os.Chtimes(dir, time.Now(), time.Now().Add(-time.Hour)))
		}, "images", "folder of a layer that nobody knows"},
		{"a container's record", func() error { return os.WriteFile(filepath.Join(idle, "container.json"), []byte("{"), 0o600) }, "containers", "record is damaged"},
		{"a container's layer", func() error { return os.RemoveAll(filepath.Join(idle, "upper")) }, "containers", "is missing: what the container had written is lost"},
		{"a folder of no container", func() error { return os.MkdirAll(filepath.Join(s.root, "containers", "nobody", "upper"), 0o700) }, "containers", "that nobody knows"},
		{"a volume's file", func() error {
			return os.WriteFile(filepath.Join(s.root, "volumes", "plain_kept", "volume.json"), nil, 0o600)
		}, "volumes", "made from"},
		{"a volume without its file", func() error { return os.Remove(filepath.Join(s.root, "volumes", "plain_kept", "volume.json")) }, "volumes", "without the file"},
		{"a volume's data", func() error { return os.RemoveAll(filepath.Join(s.root, "volumes", "plain_kept", "_data")) }, "volumes", "is missing"},
		{"a project's file", func() error { return os.WriteFile(filepath.Join(s.root, "projects", "gone.json"), []byte("{]"), 0o600) }, "files", "state file is damaged"},
		{"a bridge that nobody has", func() error { s.onHost("ip link add tt" + s.instance() + "deadbeef type bridge"); return nil }, "networks", "that nobody knows"},
		{"a control group of nobody", func() error { return os.Mkdir(s.cgroupFolder("left-behind"), 0o755) }, "host", "belongs to no container"},
		{"a mount of nobody", func() error {
			s.engineHost("mkdir -p " + images + "/tmp/left && mount -t tmpfs left " + images + "/tmp/left")
			return nil
		}, "host", "mount that nobody needs"},
		{"what a run has left", func() error { return os.MkdirAll(s.runFolder("files/nobody"), 0o700) }, "files", "a run that is over"},
	} {
		if err := c.damage(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for _, args := range [][]string{nil, {"--repair"}} {
			report := s.soundness(args...)
			found := false
			for _, f := range report.Findings {
				found = found || f.Area == c.area && strings.Contains(f.Problem, c.text)
				if want := map[int]string{0: api.FindingOpen, 1: api.FindingRepaired}[len(args)]; f.State != want {
					t.Errorf("%s: %v: state %q: %+v", c.name, args, f.State, f)
				}
			}
			if !found {
				t.Errorf("%s: %v: not found: %+v", c.name, args, report)
			}
		}
		s.mustBeSound("after the repair of " + c.name)
	}
	if now := s.identities()["web"]; now != pid {
		t.Errorf("web was %s and is %s", pid, now)
	}
	s.damagedFiles()
	s.must("-f", "plain.yaml", "up")
	s.must("down", "-v", "-t", "0")
	s.must("-f", "plain.yaml", "down", "-v", "-t", "0")
	s.damagedBlob()
	s.damagedDatabases()
}

// damagedBlob: an image's content changes on the disk. The image goes, loaded again it is whole.
func (s *site) damagedBlob() {
	t := s.t
	t.Helper()
	var largest string
	var size int64
	blobs, err := filepath.Glob(filepath.Join(s.root, "images/content/blobs/sha256/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		if st, err := os.Stat(b); err == nil && st.Size() > size {
			largest, size = b, st.Size()
		}
	}
	if err := errors.Join(os.Chmod(largest, 0o600), os.Truncate(largest, size/2)); err != nil {
		t.Fatal(err)
	}
	if report := s.soundness(); report.Open() == 0 || !strings.Contains(report.Findings[0].Hint, "busybox:latest") {
		t.Errorf("half a layer: %+v", report)
	}
	s.soundness("--repair")
	s.mustBeSound("after the repair of a layer")
	s.load("busybox")
	s.mustBeSound("after it was loaded again")
}

// damagedDatabases: the image store's database is cut while no engine runs. The check says so without touching it, the
// repair sets the store aside, and the next check says which image a container lacks.
func (s *site) damagedDatabases() {
	t := s.t
	t.Helper()
	s.write("compose.yaml", "name: sound\nservices: {idle: {image: busybox:latest, command: \"true\"}}\n")
	s.must("up")
	s.endEngine()
	meta := filepath.Join(s.root, "images", "meta.db")
	if err := os.Truncate(meta, 20<<10); err != nil {
		t.Fatal(err)
	}
	report := s.soundness()
	if len(report.Findings) != 1 || report.Findings[0].Area != "databases" || report.Findings[0].Object != meta {
		t.Errorf("a database that was cut: %+v", report)
	}
	if st, err := os.Stat(meta); err != nil || st.Size() != 20<<10 {
		t.Errorf("the check has touched the database: %v, %v", st, err)
	}
	if out := s.run("system", "check").stdout; !strings.Contains(out, "--repair would set") || !strings.Contains(out, "the rest can be checked") {
		t.Errorf("what it says of it:\n%s", out)
	}
	report = s.soundness("--repair")
	lacks := false
	for _, f := range report.Findings {
		lacks = lacks || f.Area == "containers" && strings.Contains(f.Problem, "image busybox:latest") && strings.Contains(f.Hint, "again")
	}
	if !lacks {
		t.Errorf("nothing is said of the container whose image is gone: %+v", report)
	}
	s.load("busybox")
	aside := filepath.Join(s.root, "images.damaged")
	if report := s.soundness(); len(report.Findings) != 1 || report.Findings[0].Object != aside {
		t.Errorf("with the image loaded again: %+v", report)
	}
	if _, err := os.Stat(aside); err != nil {
		t.Errorf("the old store is gone in the run that set it aside: %v", err)
	}
	s.soundness("--repair")
	s.mustBeSound("without the old store")
	s.must("start")
	s.must("down", "-t", "0")
}

// endEngine ends the engine, and the keeper with it. Nothing may run.
func (s *site) endEngine() {
	s.t.Helper()
	for _, pid := range s.engines() {
		_ = syscall.Kill(pid, syscall.SIGTERM) // gone meanwhile: as well
	}
	s.waitUntilIdle()
}

// old makes a file that is not new.
func old(path string, write func(string, []byte, os.FileMode) error, age time.Duration) error {
	at := time.Now().Add(-age)
	return errors.Join(write(path, []byte("x"), 0o444), os.Chtimes(path, at, at))
}

// cgroupFolder is the path of a control group below this engine's own.
func (s *site) cgroupFolder(name string) string {
	s.t.Helper()
	for _, dir := range cgroups(s.t) {
		if filepath.Base(dir) == "tutti-"+s.instance() {
			return filepath.Join(dir, name)
		}
	}
	s.t.Fatal("the engine has no control group")
	return ""
}

func (s *site) runFolder(name string) string { return filepath.Join("/run/tutti-"+s.instance(), name) }

// engineHost runs a script with the mounts that the engine sees.
func (s *site) engineHost(script string) { s.host.sh(s.engine(), script) }
