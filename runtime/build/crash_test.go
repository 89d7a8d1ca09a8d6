package build

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/client"

	"tutti/runtime"
	"tutti/runtime/image"
	"tutti/runtime/image/imagetest"
)

// The test's binary runs itself as a builder that is killed: childRoot is its folder,
// childFile the Dockerfile's text.
const (
	childRoot = "TUTTI_TEST_BUILD_ROOT"
	childFile = "TUTTI_TEST_BUILD_FILE"
)

// childRuntime is the runtime of the child's folder, which its parent opens again.
func childRuntime(root string) (*runtime.Runtime, error) {
	return runtime.New(runtime.Config{
		Dir:          filepath.Join(root, "containers"),
		CgroupParent: "/tutti-test-" + strings.ToLower(filepath.Base(root)),
		Reaper:       runtime.NewLocalReaper(),
	})
}

// buildAt opens everything below a folder and builds one Dockerfile; output of its
// steps goes to stdout.
func buildAt(ctx context.Context, root, dockerfile string) (string, error) {
	store, err := image.Open(ctx, filepath.Join(root, "images"))
	if err != nil {
		return "", err
	}
	r, err := childRuntime(root)
	if err != nil {
		return "", err
	}
	if err := r.RemoveOrphans(ctx, nil); err != nil {
		return "", err
	}
	b, err := New(ctx, Config{Root: filepath.Join(root, "build"), Store: store, Runtime: r})
	if err != nil {
		return "", err
	}
	status := make(chan *client.SolveStatus)
	go func() {
		for s := range status {
			for _, l := range s.Logs {
				_, _ = os.Stdout.Write(l.Data)
			}
		}
	}()
	built, err := b.Build(ctx, Request{
		Context: filepath.Join(root, "context"), DockerfileInline: dockerfile, Tags: []string{"app"},
		Secrets: []Secret{{ID: "token", Value: []byte("secret")}},
	}, status)
	return built.ID, errors.Join(err, b.Close(), r.RemoveParent(), r.Close(), store.Close())
}

// buildInChild is the child's main function.
func buildInChild(root string) {
	if err := os.Setenv("TMPDIR", image.TempDir(filepath.Join(root, "images"))); err != nil {
		panic(err)
	}
	id, err := buildAt(context.Background(), root, os.Getenv(childFile))
	if err != nil {
		panic(err)
	}
	fmt.Println("built", id)
}

// childFolder makes a folder with a base image and a context.
func childFolder(t *testing.T) string {
	t.Helper()
	root, err := os.MkdirTemp("", "crash")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	base, err := imagetest.Busybox("busybox:latest")
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := imagetest.DockerArchive(&archive, base); err != nil {
		t.Fatal(err)
	}
	store, err := image.Open(t.Context(), filepath.Join(root, "images"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Load(t.Context(), &archive, image.LoadOptions{})
	if err := errors.Join(err, store.Close(), os.Mkdir(filepath.Join(root, "context"), 0o755)); err != nil {
		t.Fatal(err)
	}
	return root
}

func child(t *testing.T, root, dockerfile string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), childRoot+"="+root, childFile+"="+dockerfile)
	cmd.Stderr = os.Stderr
	return cmd
}

// A builder that is killed while a step runs must leave nothing that the next one
// does not clean up, and its cache must be usable.
func TestBuildSurvivesKill(t *testing.T) {
	t.Parallel()
	root := childFolder(t)
	const finished = "FROM busybox\nRUN cat /proc/uptime > /first\n"
	cmd := child(t, root, finished+"RUN --mount=type=secret,id=token --mount=type=bind,from=busybox,source=/bin,target=/tools echo running; exec sleep 1000")
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() && !strings.Contains(lines.Text(), "running") {
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if table := mounts(t); !strings.Contains(table, root) {
		t.Error("the killed builder left no mount: the test proves nothing")
	}

	out, err := child(t, root, finished+"RUN echo again").Output()
	if err != nil || !strings.Contains(string(out), "built sha256:") {
		t.Fatalf("build after the kill: %q, %v", out, err)
	}
	if table := mounts(t); strings.Contains(table, root) {
		t.Errorf("mounts are left: %s", table)
	}
	r, err := childRuntime(root)
	if err != nil {
		t.Fatal(err)
	}
	if orphans, err := r.Orphans(nil); err != nil || len(orphans) > 0 {
		t.Errorf("containers are left: %q, %v", orphans, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// Opening again finds images and cache, also after the host's crash, when the cache
// may be torn and is discarded.
func TestBuildSurvivesReopen(t *testing.T) {
	t.Parallel()
	root := childFolder(t)
	const dockerfile = "FROM busybox\nRUN cat /proc/uptime > /first\n"
	run := func() string {
		t.Helper()
		out, err := child(t, root, dockerfile).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	first := run()
	if second := run(); first != second {
		t.Errorf("the cache is lost: %q, %q", first, second)
	}
	if err := os.WriteFile(filepath.Join(root, "build", unsyncedFile), []byte("another boot\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	third := run()
	if first == third {
		t.Error("a cache that may be torn was used")
	}
	if fourth := run(); third != fourth {
		t.Errorf("the new cache is lost: %q, %q", third, fourth)
	}
}

func mounts(t *testing.T) string {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(table)
}
