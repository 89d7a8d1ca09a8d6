package build

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/client"

	"tutti/runtime/image"
)

const everyInstruction = `# syntax=docker/dockerfile:1
FROM busybox AS one
COPY a.txt /one.txt
FROM scratch
ARG WHO=nobody
LABEL who=$WHO
ENV A=b
COPY --from=one /one.txt /sub/two.txt
COPY <<EOF /heredoc
hello $WHO
EOF
VOLUME /data
STOPSIGNAL SIGINT
SHELL ["/bin/ash", "-c"]
HEALTHCHECK --interval=3s --start-interval=1s CMD ["true"]
CMD ["/bin/it"]
`

func TestBuildCopiesAndConfigures(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	dir := folder(t, map[string]string{"Dockerfile": everyInstruction, "a.txt": "A"})
	built := build(t, b, Request{Context: dir, Tags: []string{"app", "app:v2"}, Args: map[string]string{"WHO": "me"}, Labels: map[string]string{"extra": "yes"}})
	wantContent(t, b, built, "sub/two.txt", "A")
	wantContent(t, b, built, "heredoc", "hello me\n")
	if want := []string{"app:latest", "app:v2"}; !slices.Equal(built.Names, want) {
		t.Errorf("names %q, want %q", built.Names, want)
	}
	c := built.Config
	if c.Labels["who"] != "me" || c.Labels["extra"] != "yes" || c.StopSignal != "SIGINT" || !slices.Contains(c.Env, "A=b") {
		t.Errorf("config %+v", c)
	}
	if c.Healthcheck == nil || c.Healthcheck.Interval != 3*time.Second || c.Healthcheck.StartInterval != time.Second {
		t.Errorf("healthcheck %+v", c.Healthcheck)
	}
	if !reflect.DeepEqual(c.Shell, []string{"/bin/ash", "-c"}) || len(c.Volumes) != 1 {
		t.Errorf("shell %q, volumes %v", c.Shell, c.Volumes)
	}
	if !strings.HasPrefix(built.ID, "sha256:") || built.Size == 0 {
		t.Errorf("ID %q, size %d", built.ID, built.Size)
	}
}

func TestBuildOptions(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	other := folder(t, map[string]string{"x": "other folder"})
	dir := folder(t, map[string]string{
		"sub/My.Dockerfile":              "FROM busybox AS a\nCOPY . /ctx/\nCOPY --from=extra x /x\nFROM a AS last\nCOPY keep /last",
		"sub/My.Dockerfile.dockerignore": "*.secret\n",
		"keep":                           "kept",
		"not.secret":                     "ignored",
	})
	built := build(t, b, Request{
		Context: dir, Dockerfile: "sub/My.Dockerfile", Target: "a",
		AdditionalContexts: map[string]string{"extra": other},
	})
	wantContent(t, b, built, "ctx/keep", "kept")
	wantContent(t, b, built, "x", "other folder")
	for _, absent := range []string{"ctx/not.secret", "last"} {
		if _, ok := fileOf(t, b, built, absent); ok {
			t.Errorf("%s is in the image", absent)
		}
	}
	if len(built.Names) != 0 {
		t.Errorf("names %q, want none", built.Names)
	}
	// A Dockerfile outside the context, and one without a file.
	outside := folder(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY keep /outside"})
	built = build(t, b, Request{Context: dir, Dockerfile: filepath.Join(outside, "Dockerfile")})
	wantContent(t, b, built, "outside", "kept")
	built = build(t, b, Request{Context: dir, DockerfileInline: "FROM scratch\nCOPY keep /inline"})
	wantContent(t, b, built, "inline", "kept")
	// A result is a base of the next build.
	build(t, b, Request{Context: dir, DockerfileInline: "FROM scratch\nCOPY keep /base", Tags: []string{"mine:1"}})
	built = build(t, b, Request{Context: dir, DockerfileInline: "FROM mine:1\nCOPY keep /child"})
	wantContent(t, b, built, "base", "kept")
	wantContent(t, b, built, "child", "kept")
}

func TestBuildDockerignore(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	dir := folder(t, map[string]string{
		"Dockerfile": "FROM scratch\nCOPY . /", ".dockerignore": "node_modules\n**/*.log\n!keep.log\n",
		"a": "A", "node_modules/x": "", "sub/y.log": "", "keep.log": "K",
	})
	built := build(t, b, Request{Context: dir})
	wantContent(t, b, built, "a", "A")
	wantContent(t, b, built, "keep.log", "K")
	for _, absent := range []string{"node_modules/x", "sub/y.log"} {
		if _, ok := fileOf(t, b, built, absent); ok {
			t.Errorf("%s is in the image", absent)
		}
	}
}

func TestBuildRebuildsWhatChanged(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	dir := folder(t, map[string]string{"Dockerfile": "FROM busybox\nCOPY a /a\nCOPY b /b", "a": "1", "b": "1"})
	first := build(t, b, Request{Context: dir, Tags: []string{"app"}})
	again := build(t, b, Request{Context: dir, Tags: []string{"app"}})
	if first.ID != again.ID {
		t.Errorf("a cached build made another image: %s, %s", first.ID, again.ID)
	}
	if err := os.WriteFile(filepath.Join(dir, "b"), []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	second := build(t, b, Request{Context: dir, Tags: []string{"app"}})
	wantContent(t, b, second, "b", "2")
	if !slices.Equal(first.Layers[:2], second.Layers[:2]) || first.Layers[2] == second.Layers[2] {
		t.Errorf("layers %q became %q, want only the last one new", first.Layers, second.Layers)
	}
	old, err := b.store.Get(t.Context(), first.ID)
	if err != nil || len(old.Names) != 0 {
		t.Errorf("the old image has names %q, %v; want it dangling", old.Names, err)
	}
	if err := b.store.GarbageCollect(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantContent(t, b, old, "b", "1")
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	dir := folder(t, map[string]string{"Dockerfile": "FROM busybox", "broken": "FROM busybox\nRUNN x", "syntax": "# syntax=evil.example/front:1\nFROM busybox", "missing": "FROM busybox\nCOPY nothing /"})
	cases := map[string]struct {
		request Request
		want    []string
	}{
		"entitlement":    {Request{Context: dir, Entitlements: []string{"device"}}, []string{`entitlement "device"`, "security.insecure"}},
		"platform":       {Request{Context: dir, Platforms: []string{"linux/s390x"}}, []string{"linux/s390x", "this host builds for"}},
		"network":        {Request{Context: dir, Network: "mynet"}, []string{"mynet"}},
		"tag":            {Request{Context: dir, Tags: []string{"UPPER"}}, []string{"UPPER"}},
		"no context":     {Request{Context: dir + "/none"}, []string{"build context", dir + "/none"}},
		"file context":   {Request{Context: dir + "/broken"}, []string{"not a folder"}},
		"no dockerfile":  {Request{Context: dir, Dockerfile: "nope"}, []string{"dockerfile", "nope"}},
		"bad dockerfile": {Request{Context: dir, Dockerfile: "broken"}, []string{"broken:2", ">>> RUNN x", "unknown instruction"}},
		"syntax":         {Request{Context: dir, Dockerfile: "syntax"}, []string{"evil.example/front:1", "not supported"}},
		"device":         {Request{Context: dir, DockerfileInline: "# syntax=docker/dockerfile:1-labs\nFROM busybox\nRUN --device=a.b/c=d true"}, []string{">>> RUN --device", "--device is not supported"}},
		"missing file":   {Request{Context: dir, Dockerfile: "missing"}, []string{">>> COPY nothing /", "not found"}},
		"no target":      {Request{Context: dir, Target: "zzz"}, []string{"zzz"}},
		"secret file":    {Request{Context: dir, Secrets: []Secret{{ID: "s", File: dir + "/none"}}}, []string{"build secret s"}},
		"cache type":     {Request{Context: dir, CacheFrom: []string{"type=gha"}}, []string{"gha"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := b.Build(t.Context(), c.request, nil)
			if err == nil {
				t.Fatal("built, want an error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not contain %q", err, want)
				}
			}
		})
	}
}

func TestBuildLocalCache(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"Dockerfile": "FROM busybox\nCOPY a /a", "a": "1"})
	cache := t.TempDir()
	build(t, openBuilder(t), Request{Context: dir, CacheTo: []string{"type=local,dest=" + cache + ",mode=max"}})
	steps := cachedSteps(t, openBuilder(t), Request{Context: dir, CacheFrom: []string{"type=local,src=" + cache}})
	if name := "[2/2] COPY a /a"; !steps[name] {
		t.Errorf("cached steps %v, want %q among them", steps, name)
	}
}

func TestBuildReportsProgress(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	dir := folder(t, map[string]string{"Dockerfile": "FROM busybox\nCOPY Dockerfile /x"})
	status := make(chan *client.SolveStatus)
	names := make(chan []string)
	go func() {
		var seen []string
		for s := range status {
			for _, v := range s.Vertexes {
				seen = append(seen, v.Name)
			}
		}
		names <- seen
	}()
	if _, err := b.Build(t.Context(), Request{Context: dir}, status); err != nil {
		t.Fatal(err)
	}
	if seen := <-names; !slices.ContainsFunc(seen, func(n string) bool { return strings.Contains(n, "COPY Dockerfile /x") }) {
		t.Errorf("steps %q", seen)
	}
	status = make(chan *client.SolveStatus)
	_, err := b.Build(t.Context(), Request{Context: "/none"}, status)
	if _, open := <-status; open || err == nil {
		t.Error("an early error must close the channel")
	}
}

// A collection between builds frees what only builds used, and keeps the cache and
// the images whole.
func TestBuildCollect(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	request := runs(t, b, "FROM busybox\nRUN cat /proc/uptime > /time", nil)
	request.Tags = []string{"app"}
	first := build(t, b, request)
	longer := Request{Context: request.Context, DockerfileInline: request.DockerfileInline + "\nRUN echo removed"}
	removed := build(t, b, longer)
	if _, err := b.store.Remove(t.Context(), removed.ID, image.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	collected := func() bool {
		t.Helper()
		if err := errors.Join(b.gc.collect(t.Context()), b.store.GarbageCollect(t.Context())); err != nil {
			t.Fatal(err)
		}
		_, err := b.backend.Content.Info(namespaces.WithNamespace(t.Context(), b.backend.Namespace), removed.Digest)
		return errdefs.IsNotFound(err)
	}
	end := b.gc.building()
	if collected() {
		t.Error("a collection during a build took what builds use")
	}
	end()
	if !collected() {
		t.Error("the removed image's manifest is still there")
	}
	if again := build(t, b, request); again.ID != first.ID {
		t.Error("the cache is lost")
	}
	rebuilt := build(t, b, longer)
	old, _ := fileOf(t, b, first, "time")
	wantContent(t, b, rebuilt, "time", old)
}

func BenchmarkBuildCached(b *testing.B) {
	builder := openBuilder(b)
	dir := folder(b, map[string]string{"Dockerfile": "FROM busybox\nWORKDIR /app\nCOPY a /a\nCOPY b /b\nCMD sh", "a": "1", "b": "1"})
	request := Request{Context: dir, Tags: []string{"app"}}
	build(b, builder, request)
	for b.Loop() {
		build(b, builder, request)
	}
}

// BenchmarkBuild30Steps is a cold build of thirty RUN steps.
func BenchmarkBuild30Steps(b *testing.B) {
	builder := openBuilder(b)
	round := 0
	for b.Loop() {
		round++
		var text strings.Builder
		text.WriteString("FROM busybox\n")
		for i := range 30 {
			fmt.Fprintf(&text, "RUN echo %d %d\n", round, i)
		}
		build(b, builder, Request{Context: builder.root, DockerfileInline: text.String()})
	}
}
