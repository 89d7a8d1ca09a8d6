package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tutti/runtime/image"
)

// instructions uses every instruction of Dockerfiles and every option of COPY and ADD; TestInstructions checks the
// effect of each. The file /checks has what RUN steps saw.
const instructions = `# syntax=docker/dockerfile:1.7-labs
# check=skip=all
# escape=\
ARG BASE=busybox
ARG GLOBAL=global
FROM ${BASE} AS parent
MAINTAINER somebody
ONBUILD ARG TRIGGERED=yes
ONBUILD RUN echo "onbuild $TRIGGERED" >> /checks
FROM scratch AS files
COPY a.txt /a.txt
COPY --chmod=640 tree /tree
FROM parent AS main
ARG GLOBAL
ARG DEFAULTED=one
ARG GIVEN=two
ENV FROM_ARG=$GIVEN OTHER="with space" \
    CONTINUED=yes
ENV old style
LABEL one=1 two="2 3" given=$GIVEN
RUN echo "args $GLOBAL $DEFAULTED $GIVEN $FROM_ARG" >> /checks
RUN ["/bin/sh", "-c", "echo exec form >> /checks"]
RUN <<EOF
echo heredoc >> /checks
echo second line >> /checks
EOF
RUN <<SCRIPT cat >> /checks
#!not a program, but input of cat
SCRIPT
SHELL ["/bin/sh", "-e", "-c"]
RUN case $- in *e*) echo shell -e >> /checks;; esac
COPY <<one <<"two" /here/
expands ${GIVEN}
one
keeps ${GIVEN}
two
WORKDIR /work
WORKDIR relative
RUN pwd >> /checks
COPY --chown=12:34 --chmod=0751 a.txt ./owned
COPY --chown=nobody:nogroup a.txt ./named
COPY --link --from=files /tree/deep /linked/
COPY --parents tree/./deep/x.txt tree/*/y.md /parents/
COPY --exclude=**/*.md --exclude=deep/z* tree /excluded/
COPY --from=files /a.txt /from-stage
COPY --from=busybox /etc/passwd /from-image
COPY ["name with space", "/spaced/"]
COPY tree/**/x.txt tree/d?ep/y.md /wild/
ADD a.txt /added
ADD archive.tar.gz /unpacked/
ADD --checksum=CHECKSUM SERVER/file.txt /fetched/
ADD --unpack=true SERVER/archive.tar.gz /fetched-and-unpacked/
ADD --keep-git-dir=true GIT#v1 /git
ADD --chmod=600 GIT#branch:sub /gitsub
EXPOSE 80 443/tcp 53/udp
VOLUME /data /more
VOLUME ["/array"]
USER 12:34
RUN id -u >> /tmp/user && id -g >> /tmp/user
USER nobody
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=3s --timeout=2s --start-period=4s --start-interval=1s --retries=5 CMD echo healthy | grep -q h
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["echo one", "two"]
FROM busybox AS never
RUN exit 1
FROM main
`

// instructionFiles is the context of the instructions.
func instructionFiles(t testing.TB) map[string]string {
	t.Helper()
	return map[string]string{
		"a.txt": "A", "name with space": "spaced", "archive.tar.gz": archiveOf(t, map[string]string{"in/file": "unpacked"}),
		"tree/deep/x.txt": "X", "tree/deep/y.md": "Y", "tree/deep/zzz": "Z", "tree/top.md": "T", "tree/top.txt": "TT",
	}
}

// archiveOf is a compressed tar.
func archiveOf(t testing.TB, files map[string]string) string {
	t.Helper()
	var buffer bytes.Buffer
	zip := gzip.NewWriter(&buffer)
	out := tar.NewWriter(zip)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.String()
}

// fileServer serves texts over HTTP.
func fileServer(t testing.TB, files map[string]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := files[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// layerFile finds the topmost layer's file of a name.
func layerFile(t testing.TB, b *Builder, i image.Image, name string) os.FileInfo {
	t.Helper()
	lower, err := b.store.Lower(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range lower {
		if info, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return info
		}
	}
	t.Errorf("%s is not in the image", name)
	return nil
}

func TestInstructions(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	server := fileServer(t, map[string]string{"file.txt": "fetched", "archive.tar.gz": archiveOf(t, map[string]string{"in/file": "fetched and unpacked"})})
	repo := gitRepository(t)
	git := gitServer(t, repo, "")
	text := strings.NewReplacer("SERVER", server, "GIT", git, "CHECKSUM", digest.FromString("fetched").String()).Replace(instructions)
	r := Request{Context: folder(t, instructionFiles(t)), DockerfileInline: text, Args: map[string]string{"GIVEN": "given"}}
	built := build(t, b, r)
	checkInstructionFiles(t, b, built)
	for name, want := range map[string]struct {
		mode     os.FileMode
		uid, gid uint32
	}{
		"work/relative/owned": {0o751, 12, 34}, "work/relative/named": {0o644, 65534, 65534}, "linked/x.txt": {0o640, 0, 0}, "gitsub/file": {0o600, 0, 0},
	} {
		info := layerFile(t, b, built, name)
		if info == nil {
			continue
		}
		if uid, gid := owner(info); info.Mode().Perm() != want.mode || uid != want.uid || gid != want.gid {
			t.Errorf("%s has mode %v, owner %d:%d; want %+v", name, info.Mode(), uid, gid, want)
		}
	}
	checkInstructionConfig(t, built)
	// A wrong checksum stops the build.
	_, err := b.Build(t.Context(), runs(t, b, "FROM scratch\nADD --checksum="+digest.FromString("other").String()+" "+server+"/file.txt /", nil), nil)
	if err == nil || !strings.Contains(err.Error(), "digest mismatch") {
		t.Errorf("with a wrong checksum: %v", err)
	}
}

func checkInstructionFiles(t *testing.T, b *Builder, built image.Image) {
	t.Helper()
	for name, want := range map[string]string{
		"checks":   "onbuild yes\nargs global one given given\nexec form\nheredoc\nsecond line\n#!not a program, but input of cat\nshell -e\n/work/relative\n",
		"here/one": "expands given\n", "here/two": "keeps ${GIVEN}\n", "tmp/user": "12\n34\n",
		"linked/x.txt": "X", "parents/deep/x.txt": "X", "parents/tree/deep/y.md": "Y",
		"excluded/deep/x.txt": "X", "excluded/top.txt": "TT", "from-stage": "A", "spaced/name with space": "spaced",
		"wild/x.txt": "X", "wild/y.md": "Y", "added": "A", "unpacked/in/file": "unpacked", "fetched/file.txt": "fetched",
		"fetched-and-unpacked/in/file": "fetched and unpacked", "git/file": "one\n", "gitsub/file": "sub of branch\n",
	} {
		wantContent(t, b, built, name, want)
	}
	if text, _ := fileOf(t, b, built, "from-image"); !strings.Contains(text, "nobody") {
		t.Errorf("from-image: %q", text)
	}
	if layerFile(t, b, built, "git/.git/HEAD") == nil {
		t.Error("the git folder is not kept")
	}
	for _, absent := range []string{"excluded/top.md", "excluded/deep/y.md", "excluded/deep/zzz", "gitsub/.git", "parents/tree/deep/x.txt"} {
		if _, ok := fileOf(t, b, built, absent); ok {
			t.Errorf("%s is in the image", absent)
		}
	}
}

func checkInstructionConfig(t *testing.T, built image.Image) {
	t.Helper()
	c := built.Config
	equal := func(what string, got, want any) {
		t.Helper()
		if g, w := marshal(t, got), marshal(t, want); g != w {
			t.Errorf("%s: %s, want %s", what, g, w)
		}
	}
	equal("env", c.Env, []string{"PATH=/bin", "FROM_ARG=given", "OTHER=with space", "CONTINUED=yes", "old=style"})
	equal("labels", c.Labels, map[string]string{"one": "1", "two": "2 3", "given": "given"})
	equal("ports", slices.Sorted(maps.Keys(c.ExposedPorts)), []string{"443/tcp", "53/udp", "80/tcp"})
	equal("volumes", slices.Sorted(maps.Keys(c.Volumes)), []string{"/array", "/data", "/more"})
	equal("user", c.User, "nobody")
	equal("working folder", c.WorkingDir, "/work/relative")
	equal("stop signal", c.StopSignal, "SIGQUIT")
	equal("entrypoint", c.Entrypoint, []string{"/bin/sh", "-c"})
	equal("command", c.Cmd, []string{"echo one", "two"})
	equal("shell", c.Shell, []string{"/bin/sh", "-e", "-c"})
	equal("onbuild", len(c.OnBuild), 0)
	equal("author", built.Author, "somebody")
	h := c.Healthcheck
	if h == nil {
		t.Fatal("no health check")
	}
	equal("health check", h.Test, []string{"CMD-SHELL", "echo healthy | grep -q h"})
	equal("health check's times", []any{h.Interval, h.Timeout, h.StartPeriod, h.StartInterval, h.Retries},
		[]any{3 * time.Second, 2 * time.Second, 4 * time.Second, time.Second, 5})
	if !slices.ContainsFunc(built.History, func(h ocispec.History) bool { return strings.Contains(h.CreatedBy, "MAINTAINER somebody") }) {
		t.Errorf("history %v", built.History)
	}
}

// The forms of instructions that replace what another has set.
func TestInstructionsThatReplace(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	for text, check := range map[string]func(i image.Image) bool{
		"HEALTHCHECK NONE": func(i image.Image) bool { return slices.Equal(i.Config.Healthcheck.Test, []string{"NONE"}) },
		`HEALTHCHECK CMD ["/check", "a b"]`: func(i image.Image) bool {
			return slices.Equal(i.Config.Healthcheck.Test, []string{"CMD", "/check", "a b"})
		},
		"CMD one two": func(i image.Image) bool { return slices.Equal(i.Config.Cmd, []string{"/bin/sh", "-c", "one two"}) },
		"ENTRYPOINT exec it": func(i image.Image) bool {
			return slices.Equal(i.Config.Entrypoint, []string{"/bin/sh", "-c", "exec it"}) && i.Config.Cmd == nil
		},
		"SHELL [\"/bin/ash\", \"-x\"]\nCMD it": func(i image.Image) bool { return slices.Equal(i.Config.Cmd, []string{"/bin/ash", "-x", "it"}) },
		"ENTRYPOINT []\nCMD []":                func(i image.Image) bool { return len(i.Config.Entrypoint)+len(i.Config.Cmd) == 0 },
		"STOPSIGNAL 9":                         func(i image.Image) bool { return i.Config.StopSignal == "9" },
		"ONBUILD COPY . /src\nONBUILD USER me": func(i image.Image) bool { return slices.Equal(i.Config.OnBuild, []string{"COPY . /src", "USER me"}) },
		"ENV A=1\nENV A=2 B=$A\nENV C=${NONE:-dflt}": func(i image.Image) bool {
			return slices.Equal(i.Config.Env, []string{"PATH=/bin", "A=2", "B=1", "C=dflt"})
		},
	} {
		built := build(t, b, runs(t, b, "FROM busybox\n"+text, nil))
		if !check(built) {
			t.Errorf("%s: %s", text, marshal(t, built.Config))
		}
	}
}

// gitRepository makes a repository with the branches main and branch and the tag v1.
func gitRepository(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo.git")
	script := `set -e
git init -q -b main "$1"; cd "$1"
git config user.name tester; git config user.email tester@example.com; git config uploadpack.allowAnySHA1InWant true
echo one > file; printf 'FROM scratch\nCOPY file /file\n' > Dockerfile; git add .; git commit -qm one; git tag -am v1 v1
git checkout -qb branch; mkdir sub; echo sub of branch > sub/file; printf 'FROM scratch\nCOPY . /sub/\n' > sub/Dockerfile; git add .; git commit -qm two
git checkout -q main; echo two > file; git commit -qam three
git update-server-info`
	cmd := exec.Command("sh", "-c", script, "sh", dir)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "HOME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make a repository: %v\n%s", err, out)
	}
	return dir
}
