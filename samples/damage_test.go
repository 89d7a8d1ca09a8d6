package samples

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// madeUp are the parts of a path that are ids.
var madeUp = regexp.MustCompile(`[0-9a-f]{64}`)

// damages are what a power cut, a full disk or a hand can do to a file.
var damages = []struct {
	name string
	do   func(content []byte) []byte
}{
	{"empty", func([]byte) []byte { return nil }},
	{"zeros", func(b []byte) []byte { return make([]byte, len(b)) }},
	{"half", func(b []byte) []byte { return b[:len(b)/2] }},
	{"garbage", func(b []byte) []byte { return bytes.Repeat([]byte("\x17{\"\xff"), len(b)/4+1) }},
}

// Any one file that tutti keeps may be damaged while no engine runs: the next engine starts all the same, and `down` leaves
// nothing.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
name: dam
services:
  runs:
    image: busybox:latest
    command: sleep 10000
    volumes: ["data:/data"]
    ports: ["8099:80"]
    stop_grace_period: 0s
  ended: {image: busybox:latest, command: "sh -c 'echo hello; exit 3'"}
volumes: {data: }
`)
	s.must("up", "-d")
	s.settled()
	kinds := s.stateFiles()
	all := os.Getenv("TUTTI_CRASH_STRICT") != ""
	for i, kind := range kinds {
		for j, damage := range damages {
			if !all && j != i%len(damages) {
				continue
			}
			s.damage(kind, damage.name, damage.do)
		}
	}
}

// damage damages one file of a running project whose engine and keeper are killed, and sees what the next engine makes of it.
func (s *site) damage(kind, name string, do func([]byte) []byte) {
	t := s.t
	t.Helper()
	what := kind + " " + name
	s.must("up", "-d")
	s.settled()
	s.killManagers()
	path := s.fileOf(kind)
	content, err := os.ReadFile(path)
	if err != nil && !strings.HasSuffix(kind, ".sock") {
		t.Fatalf("%s: %v", what, err)
	}
	// As another file, for what was a socket, and for a record that has two names.
	if err := os.WriteFile(path+".damaged", do(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".damaged", path); err != nil {
		t.Fatal(err)
	}
	if r := s.run("ps", "--all"); r.code != 0 {
		t.Errorf("%s: exit code %d: %s", what, r.code, r)
	} else if strings.HasSuffix(kind, "container.json") && strings.Count(r.stdout, "dam-") != 2 {
		t.Errorf("%s: the other copy of the record does not serve:\n%s", what, r.stdout)
	}
	if r := s.run("down", "-v", "-t", "0"); r.code != 0 {
		t.Errorf("%s: exit code %d: %s", what, r.code, r)
	}
	if strings.HasSuffix(kind, "volume.json") { // whose data it is nobody knows: it is for the user to delete
		s.must("volume", "rm", "dam_data")
	}
	eventually(t, commandTimeout, func() error {
		if left := s.residue(); len(left) > 0 {
			return fmt.Errorf("%s: left behind: %s", what, strings.Join(left, "; "))
		}
		return nil
	})
	if strings.HasPrefix(kind, "root/images/") {
		s.load("busybox")
	}
	if t.Failed() {
		t.FailNow()
	}
}

// settled waits until everything has become of the project that is to, and the disk has both names of each record.
func (s *site) settled() {
	s.t.Helper()
	s.state("runs", "running")
	s.state("ended", "exited")
	eventually(s.t, commandTimeout, func() error {
		for id := range s.records() {
			dir := filepath.Join(s.root, "containers", id)
			record, err := os.Stat(filepath.Join(dir, "container.json"))
			if err != nil {
				return err
			}
			durable, err := os.Stat(filepath.Join(dir, "container.json.durable"))
			if err != nil {
				return err
			}
			if !os.SameFile(record, durable) {
				return fmt.Errorf("%s is not written through", dir)
			}
		}
		return nil
	})
}

// killManagers kills keeper and engine, and those that they may have started meanwhile.
func (s *site) killManagers() {
	s.t.Helper()
	eventually(s.t, commandTimeout, func() error {
		left := s.managers()
		for _, m := range left {
			_ = syscall.Kill(m.pid, syscall.SIGKILL)
		}
		if len(left) > 0 {
			return fmt.Errorf("still there: %v", left)
		}
		return nil
	})
}

// stateFiles are the files below state and run folder, but those of images, of containers and of the user; with * for
// the parts of a path that are made up.
func (s *site) stateFiles() (kinds []string) {
	s.t.Helper()
	for name, dir := range s.folders() {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // replaced in this moment
			}
			if err != nil || d.IsDir() {
				base := filepath.Base(path)
				if err == nil && slices.Contains([]string{"content", "snapshots", "_data", "upper", "work", "rootfs", "trash", "builder"}, base) {
					return filepath.SkipDir
				}
				return err
			}
			rel, err := filepath.Rel(dir, path)
			kind := name + "/" + madeUp.ReplaceAllString(rel, "*")
			if !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	slices.Sort(kinds)
	s.t.Logf("%d kinds of files: %s", len(kinds), strings.Join(kinds, " "))
	return kinds
}

func (s *site) folders() map[string]string {
	return map[string]string{"root": s.root, "run": "/run/tutti-" + s.instance()}
}

// fileOf returns a file of a kind.
func (s *site) fileOf(kind string) string {
	s.t.Helper()
	name, pattern, _ := strings.Cut(kind, "/")
	paths, err := filepath.Glob(filepath.Join(s.folders()[name], pattern))
	if err != nil || len(paths) == 0 {
		s.t.Fatalf("no file %s: %v", kind, err)
	}
	return paths[0]
}
