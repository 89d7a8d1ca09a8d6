package samples

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// skopeo runs skopeo, which is another implementation of every kind of image archive.
func skopeo(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command("skopeo", append([]string{"--insecure-policy"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// names lists the entries of a tar.
func names(t testing.TB, archive string) []string {
	t.Helper()
	var list []string
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatalf("%v in %q", err, archive)
		}
		list = append(list, h.Name)
	}
}

// Images must go to other tools and come back as they were; containers become images and archives, and those containers.
func TestArchives(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  a:
    image: busybox:latest
    command: ["sh", "-c", "mkdir -p /work/sub; echo one > /work/sub/f; ln -s sub /work/link; rm /bin/wget; echo ready; exec sleep 1000"]
    environment: {KEEP: "yes"}
    network_mode: none
    init: true
    volumes: ["vol:/vol", "ro:/ro:ro"]
    tmpfs: [/tmpfs]
volumes: {vol: {}, ro: {}}
`)
	s.must("up", "--detach", "--wait")
	follow := s.start("logs", "--follow")
	follow.until("ready")
	container := strings.TrimSpace(s.must("ps", "--format", "{{.Name}}"))
	s.copies(t, container)
	s.committed(t, container)
	s.exchanged(t)
	s.must("down", "--timeout", "0", "--volumes")
	follow.wait()
}

// copies tries cp both ways, while the container runs and when it does not.
func (s *site) copies(t *testing.T, container string) {
	t.Helper()
	s.write("local/d/x", "two")
	s.write("file", "three")
	for _, state := range []string{"running", "stopped"} {
		if got := names(t, s.must("cp", "a:/work/.", "-")); got[0] != "./" || !slices.Contains(got, "./sub/f") {
			t.Errorf("%s: /work is %q", state, got)
		}
		s.must("cp", "a:/work/sub/.", "out-"+state)
		if text, err := os.ReadFile(filepath.Join(s.dir, "out-"+state, "f")); err != nil || string(text) != "one\n" {
			t.Errorf("%s: %q, %v", state, text, err)
		}
		s.must("cp", "-L", "a:/work/link", "followed-"+state)
		if _, err := os.Stat(filepath.Join(s.dir, "followed-"+state, "f")); err != nil {
			t.Errorf("%s: %v", state, err)
		}
		s.must("cp", "local", "a:/work/new-"+state)
		s.must("container", "cp", "file", container+":/vol/"+state)
		if got := names(t, s.must("container", "cp", container+":/work/new-"+state, "-")); !slices.Equal(got, []string{"new-" + state + "/", "new-" + state + "/d/", "new-" + state + "/d/x"}) {
			t.Errorf("%s: what was copied is %q", state, got)
		}
		for _, c := range []struct {
			args []string
			want string
		}{
			{[]string{"cp", "a:/no/such", "."}, "Could not find the file /no/such in container " + container},
			{[]string{"cp", "file", "a:/no/such"}, "Could not find the file /no in container " + container},
			{[]string{"cp", "file", "a:/ro/x"}, "read-only"},
			{[]string{"cp", "local", "a:/work/sub/f"}, "cannot copy directory"},
			{[]string{"cp", "a:/work", "file"}, "cannot copy directory"},
			{[]string{"cp", "a:/work", "a:/x"}, "copying between services is not supported"},
			{[]string{"cp", "x", "y"}, "unknown copy direction"},
			{[]string{"cp", "b:/work", "."}, `no container found for service "b"`},
			{[]string{"cp", "--index", "7", "a:/work", "."}, `service "a" is not running container #7`},
		} {
			if r := s.run(c.args...); r.code != 1 || !strings.Contains(r.stderr, c.want) {
				t.Errorf("%s: want %q: %s", state, c.want, r)
			}
		}
		if state == "running" {
			s.must("cp", "file", "a:/tmpfs/")
			if got := s.must("exec", "-T", "a", "cat", "/tmpfs/file", "/vol/running", "/work/new-running/d/x"); got != "threethreetwo" {
				t.Errorf("inside there is %q", got)
			}
			s.must("stop", "--timeout", "0")
		}
	}
	diff := s.must("container", "diff", container)
	for _, want := range []string{"C /bin\nD /bin/wget\n", "A /work/sub/f\n", "A /work/new-stopped/d/x\n"} {
		if !strings.Contains(diff, want) {
			t.Errorf("the changes have no %q: %s", want, diff)
		}
	}
	s.must("start")
	eventually(t, commandTimeout, func() error { // it has written its file again
		if n := strings.Count(s.must("logs", "--no-log-prefix", "a"), "ready\n"); n != 2 {
			return fmt.Errorf("it was ready %d times", n)
		}
		return nil
	})
	if got := s.must("exec", "-T", "a", "cat", "/vol/stopped", "/work/new-stopped/d/x"); got != "threetwo" {
		t.Errorf("after the start there is %q", got)
	}
}

// committed makes images of the container and runs them.
func (s *site) committed(t *testing.T, container string) {
	t.Helper()
	r := s.run("commit", "-a", "me", "-m", "why", "-c", "ENV ADDED=1", "-c", `CMD ["sh", "-c", "echo $KEEP $ADDED; cat /work/sub/f; ls /bin/wget /vol"]`, "a", "made:1")
	if r.code != 0 || !strings.Contains(r.stderr, "Committed as sha256:") {
		t.Fatalf("commit: %s", r)
	}
	if r := s.run("container", "commit", "-c", "RUN true", container); r.code != 1 || !strings.Contains(r.stderr, "RUN is not a valid change command") {
		t.Errorf("commit with RUN: %s", r)
	}
	var made []struct{ Author string }
	if err := json.Unmarshal([]byte(s.must("image", "inspect", "made:1")), &made); err != nil || made[0].Author != "me" {
		t.Errorf("the image: %+v, %v", made, err)
	}
	archive := filepath.Join(s.dir, "a.tar")
	s.must("export", "--output", archive, "a")
	id := strings.TrimSpace(s.must("import", "-m", "from an export", "-c", `CMD ["cat", "/work/sub/f"]`, archive, "imported:1"))
	if got := s.must("image", "ls", "--no-trunc", "--quiet", "imported"); strings.TrimSpace(got) != id {
		t.Errorf("import said %q, there is %q", id, got)
	}
	s.write("made.yaml", `
services:
  made: {image: made:1, network_mode: none}
  imported: {image: imported:1, network_mode: none}
`)
	if r := s.run("-p", "made", "-f", "made.yaml", "run", "--rm", "-T", "made"); r.stdout != "yes 1\none\n/vol:\n" && !strings.Contains(r.stderr, "/bin/wget") {
		t.Errorf("the committed image: %s", r)
	}
	if got := s.must("-p", "made", "-f", "made.yaml", "run", "--rm", "-T", "imported"); got != "one\n" {
		t.Errorf("the imported image says %q", got)
	}
	s.must("-p", "made", "-f", "made.yaml", "down", "--volumes")
}

// exchanged sends an image to skopeo, and from there back in each form.
func (s *site) exchanged(t *testing.T) {
	t.Helper()
	id := strings.TrimSpace(s.must("image", "ls", "--no-trunc", "--quiet", "made"))
	saved := filepath.Join(s.dir, "saved.tar")
	s.must("save", "--output", saved, "made:1", "busybox")
	// Of several images the order in manifest.json is not always the same.
	if first, again := s.must("image", "save", "made:1"), s.must("image", "save", "made:1"); first != again {
		t.Error("saving again gives other bytes")
	}
	for i, from := range []string{"docker-archive:" + saved + ":docker.io/library/made:1", "oci-archive:" + saved + ":1"} {
		layout := filepath.Join(s.dir, "layout"+string(rune('0'+i)))
		skopeo(t, "copy", from, "dir:"+layout)
		var manifest struct{ Config struct{ Digest string } }
		if err := json.Unmarshal([]byte(skopeo(t, "inspect", "--raw", "dir:"+layout)), &manifest); err != nil || manifest.Config.Digest != id {
			t.Errorf("%s: skopeo has %q, %v; want %q", from, manifest.Config.Digest, err, id)
		}
	}
	for to, from := range map[string]string{"docker-archive": ":docker.io/library/made:1", "oci-archive": ":1"} {
		back := filepath.Join(s.dir, to+".tar")
		skopeo(t, "copy", to+":"+saved+from, to+":"+back+":docker.io/library/back:"+to)
		if r := s.run("load", "--quiet", "--input", back); r.code != 0 || r.stdout != "" {
			t.Fatalf("load of %s: %s", to, r)
		}
		if got := strings.TrimSpace(s.must("image", "ls", "--no-trunc", "--quiet", "back:"+to)); got != id {
			t.Errorf("%s: came back as %q, want %q", to, got, id)
		}
	}
	// A terminal is written to by nobody, a file that was there is replaced whole, and what fails leaves none.
	if r := s.run("save", "--output", filepath.Join(s.dir, "no/such/folder"), "made:1"); r.code != 1 {
		t.Errorf("save into a folder that is not there: %s", r)
	}
	missing := filepath.Join(s.dir, "missing.tar")
	if r := s.run("save", "--output", missing, "no:such"); r.code != 1 || !strings.Contains(r.stderr, "no such image") {
		t.Errorf("save of nothing: %s", r)
	}
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file is left: %v", err)
	}
	if r := s.run("save", "--platform", "linux/s390x", "made:1"); r.code != 1 || !strings.Contains(r.stderr, "linux/s390x") {
		t.Errorf("save for another platform: %s", r)
	}
	for look, flag := range map[string]string{"inspect": "--format=json", "history": "--human=false"} {
		if r := s.run("image", look, "--platform", "linux/s390x", "made:1"); r.code != 1 || !strings.Contains(r.stderr, "no such image: made:1 is here for linux/") || !strings.Contains(r.stderr, ", not for linux/s390x") {
			t.Errorf("%s for another platform: %s", look, r)
		}
		if all, one := s.must("image", look, flag, "made:1"), s.must("image", look, flag, "--platform", "linux/"+runtime.GOARCH, "made:1"); all != one {
			t.Errorf("%s for the host's platform: %s, not %s", look, one, all)
		}
	}
	if r := s.run("load", "--platform", "linux/s390x", "--input", saved); r.code != 1 || !strings.Contains(r.stderr, "linux/s390x") {
		t.Errorf("load for another platform: %s", r)
	}
	if r := s.withInput("this is no archive", "load"); r.code != 1 || !strings.Contains(r.stderr, "load image archive") {
		t.Errorf("load of a text: %s", r)
	}
}

// A container that swaps its folders while files are copied must not lead cp out of itself, nor get anything of itself
// executed (CVE-2018-15664, CVE-2019-14271, CVE-2026-41567, CVE-2026-42306).
func TestCopyFromHostileContainer(t *testing.T) {
	t.Parallel()
	s := newSite(t, newMachine(t))
	trojans := filepath.Join(s.dir, "trojans")
	mark := filepath.Join(s.dir, "executed")
	for _, program := range []string{"unpigz", "igzip", "gzip", "xz", "bzip2", "zstd", "tar"} {
		s.write("trojans/"+program, "#!/bin/sh\ntouch "+mark+"\nexit 1\n")
		if err := os.Chmod(filepath.Join(trojans, program), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.environ = append(s.environ, "PATH="+trojans+":"+os.Getenv("PATH"))
	s.load("busybox")
	build := exec.Command("go", "build", "-o", filepath.Join(s.dir, "swap"), "./testdata/swap")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	canary := filepath.Join(s.dir, "canary")
	s.write("canary/target", "safe")
	s.write("compose.yaml", `
services:
  evil:
    image: busybox:latest
    network_mode: none
    init: true
    user: "root"
    volumes: ["./swap:/swap:ro", "shared:/shared"]
    command:
      - sh
      - -c
      - |
        mkdir -p /d`+canary+` /shared/d /shared/d/deep
        echo inside > /d/target; ln -s `+canary+` /l; ln -s `+canary+` /shared/l; echo inside > /shared/d/target
        rm /etc/passwd; mkfifo /etc/passwd
        for p in unpigz xz bzip2 zstd gzip tar; do rm -f /bin/$$p; printf '#!/bin/sh\ntouch /executed\n' > /bin/$$p; chmod 755 /bin/$$p; done
        /swap /shared/d /shared/l & exec /swap /d /l
volumes: {shared: {}}
`)
	s.write("target", "evil")
	s.must("up", "--detach")
	follow := s.start("logs", "--follow")
	follow.until("swapping")
	archive := func(path string) string {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Name: path, Size: 4, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "evil"); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, dir := range []string{"/d", "/shared/d"} {
		for range 12 { // what each comes to depends on the moment
			if r := s.run("cp", "evil:"+dir+"/target", "-"); strings.Contains(r.stdout, "safe") {
				t.Fatalf("a file of the host was copied out of a container: %s", r)
			}
			if r := s.run("cp", "evil:"+dir+"/.", "-"); strings.Contains(r.stdout, "safe") {
				t.Fatalf("a folder of the host was copied out of a container: %s", r)
			}
			s.run("cp", "target", "evil:"+dir+"/target")
			s.withInput(archive(strings.TrimPrefix(dir, "/")+"/target"), "cp", "-", "evil:/")
		}
	}
	began := time.Now()
	if r := s.run("cp", "-a", "target", "evil:/tmp"); r.code != 1 || !strings.Contains(r.stderr, "not a regular file") {
		t.Errorf("a copy for a user of a list that is a pipe: %s", r)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("that took %v", took)
	}
	if list, err := os.ReadDir(canary); err != nil || len(list) != 1 {
		t.Errorf("beside the canary there is %v, %v", list, err)
	}
	if text, err := os.ReadFile(filepath.Join(canary, "target")); err != nil || string(text) != "safe" {
		t.Errorf("the canary is %q, %v", text, err)
	}
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program of the host's PATH was executed: %v", err)
	}
	if r := s.run("exec", "-T", "evil", "ls", "/executed"); r.code == 0 {
		t.Errorf("a program of the container was executed: %s", r)
	}
	s.must("down", "--timeout", "0", "--volumes")
	follow.wait()
}
