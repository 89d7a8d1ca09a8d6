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

// fixture makes one of everything in the folder that it is run in, with a word that tells the sides apart. It is sh's, of both
// busybox and the host.
const fixture = `
echo "$1 f" > f; chmod 640 f; chown 3:4 f
mkdir -p d/s e; echo "$1 x" > d/x; echo "$1 y" > d/s/y; chmod 750 d; chown 3:4 d d/s/y; chmod 700 e
echo suid > suid; chmod 4755 suid
ln -s f lf; ln -s d ld; ln -s nowhere dangling; ln -s self self; ln -s loop2 loop1; ln -s loop1 loop2; ln -s .. up; ln -s "$PWD/d" abs
ln d/x hard; mkfifo fifo
`

// makeFixture makes a fixture of the host's, in a folder that it makes, too.
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

// fixtureImage makes an image for both that has /fixture, and what more instructions make of it.
func fixtureImage(t *testing.T, dir, name, instructions string) {
	t.Helper()
	source := filepath.Join(dir, "context")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, body := range map[string]string{"Dockerfile": "FROM busybox:latest\nCOPY fixture /fixture\n" + instructions, "fixture": fixture} {
		if err := os.WriteFile(filepath.Join(source, file), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	both.docker.must(t, "build", "-q", "-t", name, source)
	archive := filepath.Join(dir, name+".tar")
	both.docker.must(t, "save", "-o", archive, name)
	both.tutti.must(t, "load", "-q", "-i", archive)
}

// cleanContainers removes what a test has made when it ends: in docker containers, in tutti a project.
func cleanContainers(t *testing.T, project, file string, names ...string) {
	t.Helper()
	for p, args := range map[*peer][]string{
		both.docker: append([]string{"rm", "-f", "-v"}, names...),
		both.tutti:  {"-p", project, "-f", file, "down", "-v", "-t", "0"},
	} {
		p.atEnd(t, args...)
	}
}

// copyMessage is what a copy says, without what differs by nature: the folder of the test, and below sides that of each engine.
func copyMessage(text, dir, sides string) string {
	text = strings.TrimPrefix(strings.TrimSpace(text), "Error response from daemon: ")
	for _, p := range []*peer{both.docker, both.tutti} {
		text = strings.ReplaceAll(text, filepath.Join(sides, p.name), "DIR")
	}
	return strings.ReplaceAll(text, dir, "DIR")
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
