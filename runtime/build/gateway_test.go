package build

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	"golang.org/x/crypto/ssh/agent"

	"tutti/runtime/image"
	"tutti/runtime/image/imagetest"
)

// inContainer calls f with a gateway container of the image busybox, as a debugger
// of builds makes one.
func inContainer(t *testing.T, b *Builder, f func(ctx context.Context, c gateway.Container)) {
	t.Helper()
	_, err := b.conn.client.Build(t.Context(), client.SolveOpt{Internal: true}, "", func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
		def, err := llb.Image("docker.io/library/busybox:latest", llb.ResolveModePreferLocal).Marshal(ctx)
		if err != nil {
			return nil, err
		}
		res, err := c.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB()})
		if err != nil {
			return nil, err
		}
		container, err := c.NewContainer(ctx, gateway.NewContainerRequest{Mounts: []gateway.Mount{{Dest: "/", MountType: pb.MountType_BIND, Ref: res.Ref}}})
		if err != nil {
			return nil, err
		}
		f(ctx, container)
		_ = container.Release(ctx) // repeats the programs' errors
		return gateway.NewResult(), nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

type closeBuffer struct{ bytes.Buffer }

func (*closeBuffer) Close() error { return nil }

// started starts a program in a gateway container.
func started(ctx context.Context, t *testing.T, c gateway.Container, r gateway.StartRequest) gateway.ContainerProcess {
	t.Helper()
	r.Env, r.Cwd = []string{"PATH=/bin"}, "/"
	p, err := c.Start(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The first program of a container is Run, the others Exec. One that fails ends the
// container, so each case has its own.
func TestBuildExec(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	cases := map[string]struct {
		request gateway.StartRequest
		signal  syscall.Signal
		code    uint32
		out     string
	}{
		"streams":  {gateway.StartRequest{Args: []string{"sh", "-c", "cat; echo err >&2"}, Stdin: io.NopCloser(strings.NewReader("in "))}, 0, 0, "in err\n"},
		"code":     {gateway.StartRequest{Args: []string{"sh", "-c", "exit 3"}}, 0, 3, ""},
		"terminal": {gateway.StartRequest{Args: []string{"sh", "-c", "test -t 1 && echo terminal"}, Tty: true}, 0, 0, "terminal\r\n"},
		"user":     {gateway.StartRequest{Args: []string{"id", "-un"}, User: "nobody"}, 0, 0, "nobody\n"},
		"signal":   {gateway.StartRequest{Args: []string{"sleep", "1000"}}, syscall.SIGKILL, 137, ""},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inContainer(t, b, func(ctx context.Context, c gateway.Container) {
				input, write := io.Pipe()
				started(ctx, t, c, gateway.StartRequest{Args: []string{"cat"}, Stdin: input})
				var out, errOut closeBuffer
				test.request.Stdout, test.request.Stderr = &out, &errOut
				p := started(ctx, t, c, test.request)
				if test.signal != 0 {
					if err := p.Signal(ctx, test.signal); err != nil {
						t.Error(err)
					}
				}
				err := p.Wait()
				var exit *gatewaypb.ExitError
				if errors.As(err, &exit) != (test.code != 0) || exit != nil && exit.ExitCode != test.code {
					t.Errorf("ended with %v, want exit code %d", err, test.code)
				}
				if got := out.String() + errOut.String(); got != test.out {
					t.Errorf("printed %q, want %q", got, test.out)
				}
				_ = write.Close()
			})
		})
	}
}

// RUN steps get the namespace that the engine makes, and it is released after them.
func TestBuildNetwork(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	store, err := image.Open(t.Context(), filepath.Join(root, "images"))
	if err != nil {
		t.Fatal(err)
	}
	base, err := imagetest.Busybox("busybox:latest")
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := imagetest.DockerArchive(&archive, base); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load(t.Context(), &archive, image.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	made, released := 0, 0
	b, err := New(t.Context(), Config{
		Root: filepath.Join(root, "build"), Store: store, Runtime: openRuntime(t, root),
		Network: func(context.Context) (StepNetwork, error) {
			made++
			return StepNetwork{Path: "/proc/self/ns/net", Host: netip.MustParseAddr("192.0.2.1"), Release: func() { released++ }}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(b.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	request := runs(t, b, "FROM busybox\nRUN ls /sys/class/net > /net; cat /etc/hosts >/hosts\nRUN --network=none ! grep outer /etc/hosts", nil)
	request.ExtraHosts = map[string][]string{"outer": {"host-gateway"}}
	if hosts, _ := fileOf(t, b, build(t, b, request), "hosts"); !strings.HasSuffix(hosts, "\n192.0.2.1\touter\n") {
		t.Errorf("host-gateway: %q", hosts)
	}
	if made != 1 || released != 1 {
		t.Errorf("%d namespaces made, %d released; want one", made, released)
	}
	request = runs(t, b, "FROM busybox\nRUN grep 127.0.0.1.outer /etc/hosts", nil)
	request.ExtraHosts = map[string][]string{"outer": {"host-gateway"}}
	request.Network = "host"
	build(t, b, request)
	request = runs(t, b, "FROM busybox\nRUN [ $(ls /sys/class/net) = lo ]", nil)
	request.Network = "none"
	build(t, b, request)
	if made != 1 {
		t.Errorf("%d namespaces made, want none for host and none", made)
	}
}

func TestBuildFromRegistry(t *testing.T) {
	t.Parallel()
	repo := imagetest.StartRegistry(t, true) + "/base"
	push := func(text string) {
		t.Helper()
		imagetest.Push(t, repo+":v1", imagetest.Image{Layers: [][]imagetest.File{{{Path: "text", Body: text}}}})
	}
	push("first")
	b := openBuilder(t)
	request := runs(t, b, "FROM "+repo+":v1\nCOPY f /f", map[string]string{"f": "f"})
	if _, err := b.Build(t.Context(), request, nil); err == nil || !strings.Contains(err.Error(), repo) {
		t.Errorf("without a login: %v, want an error with the image's name", err)
	}
	request.Auth = func(host string) (string, string, error) {
		if !strings.HasPrefix(repo, host+"/") {
			return "", "", errors.New("credentials for " + host)
		}
		return imagetest.User, imagetest.Password, nil
	}
	wantContent(t, b, build(t, b, request), "text", "first")
	// A local image of that name is used until pull is asked for.
	if _, err := b.store.Pull(t.Context(), repo+":v1", image.PullOptions{Auth: request.Auth}); err != nil {
		t.Fatal(err)
	}
	push("second")
	wantContent(t, b, build(t, b, request), "text", "first")
	request.Pull = true
	wantContent(t, b, build(t, b, request), "text", "second")
}

func TestBuildSSH(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	socket := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(agent.NewKeyring(), conn) }()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-served })
	request := runs(t, b, "FROM busybox\nRUN --mount=type=ssh [ -S \"$SSH_AUTH_SOCK\" ]", nil)
	if _, err := b.Build(t.Context(), request, nil); err == nil {
		t.Error("built without an agent")
	}
	request.SSH = []SSH{{Paths: []string{socket}}}
	build(t, b, request)
}

// Steps whose containers died with an engine are found by their names.
func TestBuildStepsAreNamed(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = b.Build(ctx, runs(t, b, "FROM busybox\nRUN sleep 1000", nil), nil)
	}()
	containers := filepath.Join(filepath.Dir(b.root), "containers")
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(2 * time.Millisecond) {
		entries, err := os.ReadDir(containers)
		if err == nil && len(entries) > 0 {
			if !strings.HasPrefix(entries[0].Name(), idPrefix) {
				t.Errorf("container %q", entries[0].Name())
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no container")
		}
	}
	cancel()
	<-done
}
