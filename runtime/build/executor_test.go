package build

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gateway "github.com/moby/buildkit/frontend/gateway/pb"
)

// runs builds a Dockerfile text on a folder of files.
func runs(t testing.TB, b *Builder, dockerfile string, files map[string]string) Request {
	t.Helper()
	return Request{Context: folder(t, files), DockerfileInline: dockerfile}
}

func TestBuildRun(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	built := build(t, b, runs(t, b, `FROM busybox
ARG TEXT=argument
ENV FROM_ENV=environment
WORKDIR /work
COPY file .
RUN cat file > out && echo $TEXT $FROM_ENV >> out && pwd >> out
RUN echo "$(id -u) $(hostname)" > who
USER nobody
RUN id -un > /tmp/user
FROM scratch
COPY --from=0 /work/out /work/who /tmp/user /
`, map[string]string{"file": "copied\n"}))
	wantContent(t, b, built, "out", "copied\nargument environment\n/work\n")
	wantContent(t, b, built, "who", "0 buildkitsandbox\n")
	wantContent(t, b, built, "user", "nobody\n")
}

// Nothing that the runtime needs in a root file system may get into a layer.
func TestBuildRunLeavesNoStubs(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	built := build(t, b, runs(t, b, `FROM busybox
RUN --mount=type=cache,target=/var/cache/it --mount=type=secret,id=none,target=/run/secret echo ran > /ran
RUN [ ! -e /var/cache/it ] && [ ! -s /etc/hosts ] || [ -s /etc/hosts ]
`, nil))
	lower, err := b.store.Lower(t.Context(), built)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etc/resolv.conf", "etc/hosts", "var/cache/it"} {
		for _, dir := range lower {
			if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
				t.Errorf("%s is in a layer", name)
			}
		}
	}
	wantContent(t, b, built, "ran", "ran\n")
}

func TestBuildRunMounts(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := runs(t, b, `FROM busybox AS tool
RUN mkdir -p /deep/er && echo tool > /deep/er/file
FROM busybox
RUN --mount=type=secret,id=file --mount=type=secret,id=value,target=/value --mount=type=secret,id=absent,required=false,target=/absent \
    cat /run/secrets/file /value > /secrets; [ ! -e /absent ]
RUN --mount=type=secret,id=value,env=TOKEN echo "env $TOKEN" >> /secrets
RUN --mount=type=bind,target=/ctx cat /ctx/sub/x > /bind && ! touch /ctx/new
RUN --mount=type=bind,source=sub/x,target=/one cat /one >> /bind
RUN --mount=type=bind,from=tool,source=/deep/er,target=/tool cat /tool/file >> /bind
RUN --mount=type=tmpfs,target=/scratch,size=1m echo x > /scratch/x && mount | grep -q 'tmpfs on /scratch'
RUN --mount=type=cache,target=/cache echo kept >> /cache/file
RUN --mount=type=cache,target=/cache cat /cache/file > /cached
`, map[string]string{"sub/x": "context\n"})
	r.Secrets = []Secret{{ID: "file", File: secret}, {ID: "value", Value: []byte(" and a value\n")}}
	built := build(t, b, r)
	wantContent(t, b, built, "secrets", "from a file and a value\nenv  and a value\n\n")
	wantContent(t, b, built, "bind", "context\ncontext\ntool\n")
	wantContent(t, b, built, "cached", "kept\n")
}

func TestBuildRunIsConfined(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	r := runs(t, b, `FROM busybox
RUN grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status > /status
RUN ! mount -t tmpfs none /tmp && grep -q ' /proc/sys proc ro' /proc/mounts && [ ! -s /proc/timer_list ]
RUN --network=none ls /sys/class/net > /none
RUN ls /sys/class/net > /default
RUN grep special /etc/hosts > /hosts
RUN ulimit -n > /ulimit; mount | grep /dev/shm > /shm
RUN cat /proc/1/comm > /pid1
`, nil)
	r.ExtraHosts = map[string][]string{"special": {"10.9.8.7"}}
	r.Ulimits = []Ulimit{{Name: "nofile", Soft: 123, Hard: 456}}
	r.ShmSize = 4 << 20
	built := build(t, b, r)
	status, _ := fileOf(t, b, built, "status")
	// docker's fourteen default capabilities, and a seccomp filter
	if !strings.Contains(status, "00000000a80425fb") || !strings.Contains(status, "Seccomp:\t2") {
		t.Errorf("process status %q", status)
	}
	wantContent(t, b, built, "none", "lo\n")
	wantContent(t, b, built, "hosts", "10.9.8.7\tspecial\n")
	wantContent(t, b, built, "ulimit", "123\n")
	if shm, _ := fileOf(t, b, built, "shm"); !strings.Contains(shm, "size=4096k") {
		t.Errorf("/dev/shm: %q", shm)
	}
	if pid1, _ := fileOf(t, b, built, "pid1"); pid1 == "systemd\n" || pid1 == "" {
		t.Errorf("pid 1 is %q: not an own pid namespace", pid1)
	}
}

func TestBuildRunCache(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	r := runs(t, b, "FROM busybox\nRUN cat /proc/uptime > /one\nCOPY f /f\nRUN cat /proc/uptime /f > /two", map[string]string{"f": "1"})
	first := build(t, b, r)
	if again := build(t, b, r); again.ID != first.ID {
		t.Error("an unchanged build ran again")
	}
	if err := os.WriteFile(filepath.Join(r.Context, "f"), []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	second := build(t, b, r)
	compare := func(what string, old, new string, same bool) {
		t.Helper()
		if (old == new) != same {
			t.Errorf("%s: %q and %q, want the same: %v", what, old, new, same)
		}
	}
	read := func(name string) (string, string) {
		a, _ := fileOf(t, b, first, name)
		z, _ := fileOf(t, b, second, name)
		return a, z
	}
	one, oneNew := read("one")
	compare("step before the change", one, oneNew, true)
	two, twoNew := read("two")
	compare("step after the change", two, twoNew, false)
	r.NoCache = true
	third := build(t, b, r)
	oneThird, _ := fileOf(t, b, third, "one")
	compare("without the cache", one, oneThird, false)
}

func TestBuildFailedStep(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	_, err := b.Build(t.Context(), runs(t, b, "FROM busybox\nRUN echo fine\nRUN echo out; echo bad >&2; exit 7\nRUN echo never", nil), nil)
	var failed *Error
	if !errors.As(err, &failed) {
		t.Fatalf("error %v, want an *Error", err)
	}
	if !strings.Contains(failed.Output, "out\n") || !strings.Contains(failed.Output, "bad\n") || strings.Contains(failed.Output, "fine\n") {
		t.Errorf("output %q", failed.Output)
	}
	for _, want := range []string{"Dockerfile:3", "   3 | >>> RUN echo out", "exit code: 7"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not contain %q", err, want)
		}
	}
	var exit *gateway.ExitError
	if !errors.As(err, &exit) || exit.ExitCode != 7 {
		t.Errorf("exit error %v", exit)
	}
	_, err = b.Build(t.Context(), runs(t, b, "FROM busybox\nRUN [\"/no/such/program\"]", nil), nil)
	if err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("missing program: %v", err)
	}
	_, err = b.Build(t.Context(), runs(t, b, "# syntax=docker/dockerfile:1-labs\nFROM busybox\nRUN --security=insecure true", nil), nil)
	if err == nil || !strings.Contains(err.Error(), "insecure") {
		t.Errorf("insecure step: %v", err)
	}
	// What succeeded before the failure is cached.
	steps := cachedSteps(t, b, runs(t, b, "FROM busybox\nRUN echo fine", nil))
	if name := "[2/2] RUN echo fine"; !steps[name] {
		t.Errorf("cached steps %v, want %q among them", steps, name)
	}
}

func TestBuildCancelKillsTheStep(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	marker := "98765" + time.Now().Format("150405")
	sleeping := func() bool { return exec.Command("pgrep", "-f", "sleep "+marker).Run() == nil }
	done := make(chan error, 1)
	go func() {
		_, err := b.Build(ctx, runs(t, b, "FROM busybox\nRUN sleep "+marker, nil), nil)
		done <- err
	}()
	for deadline := time.Now().Add(2 * time.Minute); !sleeping(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the step does not run")
		}
	}
	cancel(reason)
	select {
	case err := <-done:
		if !errors.Is(err, reason) {
			t.Errorf("error %v, want %v", err, reason)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the build goes on")
	}
	for deadline := time.Now().Add(2 * time.Minute); sleeping(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the step's program lives on")
		}
	}
}

// Services that build at once share stages and do not disturb each other.
func TestBuildsAtOnce(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	const n = 6
	errs := make(chan error, n)
	for i := range n {
		go func() {
			text := "FROM busybox\nRUN cat /proc/uptime > /shared\nRUN echo " + strings.Repeat("x", i+1) + " > /own"
			_, err := b.Build(t.Context(), Request{Context: b.root, DockerfileInline: text}, nil)
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
