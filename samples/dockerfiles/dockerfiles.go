// Package dockerfiles is the table of Dockerfiles that tests build: one for each instruction, option and mount type of
// https://docs.docker.com/reference/dockerfile/, with what the image prints when it is run. `make test` builds each with
// tutti; `make compare` builds each with docker, too, and compares the images.
package dockerfiles

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Row is one Dockerfile.
type Row struct {
	Name  string
	Text  string   // the Dockerfile; {{SERVER}} stands for Server
	Flags []string // of `image build`, see Arguments
	Run   string   // what /bin/sh of the image is to run; "" for the image's own command
	Want  string   // what that prints
	Code  int      // ... and its exit code
	Files map[string]string
}

// Modified is the time of every file of a context, so that images have it, too.
var Modified = time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)

// Server is where Listen listens, on the loopback interface of the namespace that builds run in.
const Server = "127.0.0.1:8099"

// file is an entry of the common context.
type file struct {
	path, body string
	mode       os.FileMode
}

// common is what every context has.
var common = []file{
	{"a.txt", "A", 0o644},
	{"b.txt", "B", 0o640},
	{"name with space", "spaced", 0o644},
	{"script.sh", "#!/bin/sh\necho script $*\n", 0o755},
	{"suid", "suid", 0o755 | os.ModeSetuid},
	{"tree/deep/x.txt", "X", 0o644},
	{"tree/deep/y.md", "Y", 0o600},
	{"tree/deep/zzz", "Z", 0o644},
	{"tree/top.md", "T", 0o644},
	{"tree/top.txt", "TT", 0o444},
	{"ignored/no.txt", "no", 0o644},
	{"ignored/yes.txt", "yes", 0o644},
	{".dockerignore", "ignored/*\n!ignored/yes.txt\n*.skip\n", 0o644},
	{"x.skip", "skipped", 0o644},
	{"other/o.txt", "from another context", 0o644},
}

// Arguments are the row's flags: {{DIR}} stands for the folder that WriteContext has been given, {{CONTEXT}} for what it returns.
func (r Row) Arguments(dir string) []string {
	var all []string
	for _, f := range r.Flags {
		all = append(all, strings.NewReplacer("{{DIR}}", dir, "{{CONTEXT}}", contextIn(dir)).Replace(f))
	}
	return all
}

// contextIn has a name of its own: of folders of one name, old versions of docker take files of the same size and time for the
// same.
func contextIn(dir string) string { return filepath.Join(dir, "context-"+filepath.Base(dir)) }

// WriteContext makes the context of a row in a folder of its own below dir, together with a secret and an SSH key beside it,
// and returns its path.
func (r Row) WriteContext(dir string) (string, error) {
	context := contextIn(dir)
	for _, f := range common {
		if err := write(filepath.Join(context, f.path), f.body, f.mode); err != nil {
			return "", err
		}
	}
	packed, err := archive("in/file", "unpacked")
	if err != nil {
		return "", err
	}
	own := map[string]string{"archive.tar.gz": packed, "Dockerfile": r.Text}
	for name, body := range r.Files {
		own[name] = body
	}
	for name, body := range own {
		if err := write(filepath.Join(context, name), body, 0o644); err != nil {
			return "", err
		}
	}
	if err := os.Symlink("a.txt", filepath.Join(context, "link")); err != nil {
		return "", err
	}
	if err := os.Symlink("deep", filepath.Join(context, "tree/dirlink")); err != nil {
		return "", err
	}
	if err := write(filepath.Join(dir, "secret"), "a secret", 0o600); err != nil {
		return "", err
	}
	if err := writeKey(filepath.Join(dir, "key")); err != nil {
		return "", err
	}
	return context, age(context)
}

func write(path, body string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		return err
	}
	return os.Chmod(path, mode) // whatever the umask is
}

// age gives a folder and all that is in it the same time.
func age(dir string) error {
	out, err := exec.Command("find", dir, "-exec", "touch", "-h", "-d", Modified.Format(time.RFC3339), "{}", "+").CombinedOutput()
	if err != nil {
		return fmt.Errorf("set the times of %s: %w: %s", dir, err, out)
	}
	return nil
}

// writeKey writes an SSH key without a passphrase.
func writeKey(path string) error {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}

// archive is a compressed tar with one file.
func archive(name, body string) (string, error) {
	var buffer bytes.Buffer
	zip := gzip.NewWriter(&buffer)
	out := tar.NewWriter(zip)
	h := &tar.Header{Name: name, Mode: 0o640, Size: int64(len(body)), Typeflag: tar.TypeReg, ModTime: Modified, Uid: 7, Gid: 8}
	if err := out.WriteHeader(h); err != nil {
		return "", err
	}
	if _, err := out.Write([]byte(body)); err != nil {
		return "", err
	}
	if err := out.Close(); err != nil {
		return "", err
	}
	if err := zip.Close(); err != nil {
		return "", err
	}
	return buffer.String(), nil
}

// Listen serves what rows fetch, file.txt, archive.tar.gz and the git repository repo.git, which it makes in dir. inside runs a
// function in the network namespace that it listens in. It returns what ends it.
func Listen(inside func(func() error) error, dir string) (func() error, error) {
	var l net.Listener
	if err := inside(func() (err error) {
		l, err = net.Listen("tcp", Server)
		return err
	}); err != nil {
		return nil, err
	}
	if err := prepare(dir); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(dir)), ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	return func() error {
		err := server.Close()
		<-ended
		return err
	}, nil
}

// prepare makes the files to serve.
func prepare(dir string) error {
	repository := filepath.Join(dir, "repo.git")
	cmd := exec.Command("sh", "-ec", `git init -q -b main "$1"; cd "$1"
git config user.name tester; git config user.email tester@example.com
echo one > file; git add .; git commit -qm one; git tag v1
mkdir sub; echo sub of main > sub/file; git add .; git commit -qm two
git update-server-info; cp -a .git/. .`, "sh", repository)
	stamp := Modified.Format(time.RFC3339)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_DATE="+stamp, "GIT_COMMITTER_DATE="+stamp)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make a git repository: %w: %s", err, out)
	}
	packed, err := archive("in/file", "fetched and unpacked")
	if err != nil {
		return err
	}
	for name, body := range map[string]string{"file.txt": "fetched", "archive.tar.gz": packed} {
		if err := write(filepath.Join(dir, name), body, 0o644); err != nil {
			return err
		}
	}
	return age(dir)
}
