package build

import (
	"archive/tar"
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A context with everything that a file system can hold: what is no file comes as what it is, or not at all, and
// nothing waits for it, reads it or is written outside.
func TestContextWithSpecialFiles(t *testing.T) {
	t.Parallel()
	b, dir := openBuilder(t), canaryFolder(t)
	context := folder(t, map[string]string{"plain": "plain", "sub/.keep": ""})
	for name, mode := range map[string]uint32{"fifo": unix.S_IFIFO, "zero": unix.S_IFCHR} {
		if err := unix.Mknod(filepath.Join(context, name), mode|0o644, int(unix.Mkdev(1, 5))); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("unix", filepath.Join(context, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for name, target := range map[string]string{"out": dir, "up": "../../../../../../../.." + dir, "loop": "loop", "sub/root": "/"} {
		if err := os.Symlink(target, filepath.Join(context, name)); err != nil {
			t.Fatal(err)
		}
	}
	sparse, err := os.Create(filepath.Join(context, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	if err := sparse.Truncate(100 << 30); err != nil {
		t.Fatal(err)
	}
	defer sparse.Close()
	if err := os.WriteFile(filepath.Join(context, ".dockerignore"), []byte("sparse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	built := build(t, b, Request{Context: context, DockerfileInline: "FROM busybox\nCOPY . /ctx\nRUN [ ! -e /ctx/out/canary ] && [ ! -e /ctx/up/canary ] && [ -p /ctx/fifo ] && [ -L /ctx/loop ] && [ ! -e /ctx/sparse ]"})
	wantContent(t, b, built, "ctx/plain", "plain")
	wantUntouched(t, dir)
}

// A tar as the context whose entries try to leave it.
func TestContextOfHostileTar(t *testing.T) {
	t.Parallel()
	b, dir := openBuilder(t), canaryFolder(t)
	var buffer bytes.Buffer
	out := tar.NewWriter(&buffer)
	up := strings.Repeat("../", 20)
	for _, h := range []tar.Header{
		{Name: "Dockerfile", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: up + dir + "/escaped", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: dir + "/absolute", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "way", Typeflag: tar.TypeSymlink, Linkname: dir},
		{Name: "way/through", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "hard", Typeflag: tar.TypeLink, Linkname: up + dir + "/canary"},
		{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
	} {
		text := "x"
		if h.Name == "Dockerfile" {
			text = "FROM busybox\nCOPY . /ctx\nRUN ! grep -r 'of the host' /ctx"
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(text))
		}
		if err := out.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := out.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := b.Build(t.Context(), Request{Context: "-", Stdin: &buffer}, nil)
	if err != nil && strings.Contains(err.Error(), "exit code") {
		t.Errorf("the host's file was seen: %v", err)
	}
	t.Log(err) // refused is fine, too
	wantUntouched(t, dir)
}

// The name of a Dockerfile, of a target or of a frontend is no way out of the context (CVE-2026-33747).
func TestNamesStayInside(t *testing.T) {
	t.Parallel()
	b, dir := openBuilder(t), canaryFolder(t)
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM busybox\nLABEL from=host"), 0o600); err != nil {
		t.Fatal(err)
	}
	git := gitServer(t, gitRepository(t), "")
	up := strings.Repeat("../", 20)
	for name, r := range map[string]Request{
		"Dockerfile of a repository": {Context: git, Dockerfile: up + dir[1:] + "/Dockerfile"},
		"folder of a repository":     {Context: git + "#main:" + up + dir[1:]},
		"Dockerfile of a stream":     {Context: "-", Dockerfile: up + dir[1:] + "/Dockerfile", Stdin: strings.NewReader(archiveOf(t, map[string]string{"x": "y"}))},
		"syntax":                     {Context: dir, DockerfileInline: "# syntax=docker/dockerfile/../../" + up + "x\nFROM busybox"},
		"syntax of another registry": {Context: dir, DockerfileInline: "# syntax=docker.io.evil.example/docker/dockerfile:1\nFROM busybox"},
		"syntax by argument":         {Context: dir, DockerfileInline: "FROM busybox", Args: map[string]string{"BUILDKIT_SYNTAX": "evil.example/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result, err := b.Build(t.Context(), r, nil)
			if err == nil {
				t.Errorf("built %s with labels %v, want an error", result.ID, result.Config.Labels)
			}
		})
	}
}

// A repository whose folder is a link shows nothing of the host (CVE-2026-33748), and neither do links in it.
func TestGitLinksStayInside(t *testing.T) {
	t.Parallel()
	b, dir := openBuilder(t), canaryFolder(t)
	repo := filepath.Join(t.TempDir(), "repo.git")
	script := `set -e; git init -q -b main "$1"; cd "$1"; git config user.name t; git config user.email t@example.com
ln -s "$2" sub; ln -s ../../../../../../../../../.."$2" up; ln -s "$2"/canary file; mkdir real; ln -s "$2" real/inner; printf 'FROM busybox\nCOPY . /ctx\nRUN ! cat /ctx/canary /ctx/file /ctx/sub/canary /ctx/inner/canary' | tee real/Dockerfile > Dockerfile
git add .; git commit -qm one`
	cmd := exec.Command("sh", "-c", script, "sh", repo, dir)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "HOME="+repo)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	git := gitServer(t, repo, "")
	for _, ref := range []string{"", "#main:sub", "#main:up", "#main:real", "#main:real/inner", "#main:file"} {
		_, err := b.Build(t.Context(), Request{Context: git + ref}, nil)
		if err != nil && strings.Contains(err.Error(), "exit code") {
			t.Errorf("%s: the host's file was seen: %v", ref, err)
		}
		if err == nil && ref != "" && ref != "#main:real" {
			t.Errorf("%s was built", ref)
		}
	}
	wantUntouched(t, dir)
}

// A huge Dockerfile ends soon and clearly, whatever it is full of and wherever it comes from, and no other build
// notices.
func TestHugeDockerfile(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	file := filepath.Join(t.TempDir(), "Dockerfile")
	if err := os.WriteFile(file, bytes.Repeat([]byte("#\n"), 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	of := func(size int, begin, fill string) string { return begin + strings.Repeat(fill, size/len(fill)) + "\n" }
	inTar := func(text string) Request {
		return Request{Context: "-", Stdin: strings.NewReader(archiveOf(t, map[string]string{"Dockerfile": text}))}
	}
	for name, c := range map[string]struct {
		request Request
		want    string
	}{
		"file":        {Request{Context: filepath.Dir(file)}, "has 10485760 bytes, more than 2097152"},
		"text":        {Request{Context: t.TempDir(), DockerfileInline: of(10<<20, "FROM busybox\n", "#\n")}, "bytes, more than 2097152"},
		"stream":      {Request{Context: "-", Stdin: strings.NewReader(of(10<<20, "FROM busybox\n", "#\n"))}, "more than 2 MiB is not read"},
		"line":        {inTar(of(10<<20, "FROM busybox\nLABEL a=", "x")), "dockerfile line greater than max allowed size"},
		"garbage":     {inTar(of(10<<20, "", "\x00\xff")), ""},
		"instruction": {inTar(of(10<<20, "FROM busybox\n", "RUNN x\n")), "unknown instruction"},
		"steps":       {inTar(of(1<<20, "FROM busybox\nNOT\n", "LABEL a=b\n")), "unknown instruction: NOT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := b.Build(t.Context(), c.request, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 64<<10 {
				t.Errorf("error of %d bytes %.300v, want one with %q", len(err.Error()), err, c.want)
			}
		})
	}
	build(t, b, Request{Context: t.TempDir(), DockerfileInline: "FROM busybox\nRUN true"})
}

// A context of very many files takes memory in proportion to what the Dockerfile uses of it. TUTTI_CONTEXT_FILES sets
// how many there are.
func TestContextOfManyFiles(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	count := 1000
	if n, err := strconv.Atoi(os.Getenv("TUTTI_CONTEXT_FILES")); err == nil {
		count = n
	}
	context := folder(t, map[string]string{"used": "used"})
	for i := range count {
		path := filepath.Join(context, "many", strconv.Itoa(i/1000))
		if i%1000 == 0 {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(path, strconv.Itoa(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := allocated()
	built := build(t, b, Request{Context: context, DockerfileInline: "FROM scratch\nCOPY used /used"})
	wantContent(t, b, built, "used", "used")
	t.Logf("%d files, one used: %d MB allocated", count, (allocated()-before)>>20)
	if count > 100_000 {
		return // all of them are measured by hand
	}
	before = allocated()
	build(t, b, Request{Context: context, DockerfileInline: "FROM scratch\nCOPY . /"})
	t.Logf("%d files, all used: %d MB allocated", count, (allocated()-before)>>20)
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
