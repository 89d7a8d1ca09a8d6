package build

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"tutti/runtime/image/imagetest"
)

// Contexts that are not folders: git with its forms of references, a tar and a Dockerfile over HTTP, a stream.
func TestContexts(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	git := gitServer(t, gitRepository(t), "")
	tarball := archiveOf(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY file /file\n", "file": "of the tar", "Other": "FROM scratch\nCOPY file /other\n"})
	web := fileServer(t, map[string]string{"context.tar.gz": tarball, "Dockerfile": "FROM busybox\nRUN echo alone > /file"})
	local := folder(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY file /local\n"})
	for name, c := range map[string]struct {
		request    Request
		file, want string
	}{
		"git":                      {Request{Context: git}, "file", "two\n"},
		"git branch and folder":    {Request{Context: git + "#branch:sub"}, "sub/file", "sub of branch\n"},
		"git tag":                  {Request{Context: git + "#v1"}, "file", "one\n"},
		"git query":                {Request{Context: git + "?ref=v1"}, "file", "one\n"},
		"git with our Dockerfile":  {Request{Context: git, Dockerfile: filepath.Join(local, "Dockerfile")}, "local", "two\n"},
		"git with a text":          {Request{Context: git, DockerfileInline: "FROM scratch\nCOPY file /inline"}, "inline", "two\n"},
		"git's other Dockerfile":   {Request{Context: git + "#branch", Dockerfile: "sub/Dockerfile"}, "sub/file", "one\n"},
		"tar":                      {Request{Context: web + "/context.tar.gz"}, "file", "of the tar"},
		"tar's other Dockerfile":   {Request{Context: web + "/context.tar.gz", Dockerfile: "Other"}, "other", "of the tar"},
		"a Dockerfile":             {Request{Context: web + "/Dockerfile"}, "file", "alone\n"},
		"stream of a tar":          {Request{Context: "-", Stdin: strings.NewReader(tarball)}, "file", "of the tar"},
		"stream, other Dockerfile": {Request{Context: "-", Stdin: strings.NewReader(tarball), Dockerfile: "Other"}, "other", "of the tar"},
		"stream of a Dockerfile":   {Request{Context: "-", Stdin: strings.NewReader("FROM busybox\nRUN echo alone > /file")}, "file", "alone\n"},
		"additional git": {Request{
			Context: local, DockerfileInline: "FROM scratch\nCOPY --from=g file /file",
			AdditionalContexts: map[string]string{"g": git + "#v1"},
		}, "file", "one\n"},
		"additional file": {Request{
			Context: local, DockerfileInline: "FROM scratch\nCOPY --from=g context /file",
			AdditionalContexts: map[string]string{"g": web + "/Dockerfile"},
		}, "file", "FROM busybox\nRUN echo alone > /file"},
		"additional in place of an image": {Request{
			Context: local, DockerfileInline: "FROM no.such.registry.example/base\nCOPY Dockerfile /x",
			AdditionalContexts: map[string]string{"no.such.registry.example/base": "docker-image://busybox"},
		}, "x", "FROM scratch\nCOPY file /local\n"},
		"additional context context": {Request{
			Context: local, DockerfileInline: "FROM scratch\nCOPY --from=context Dockerfile /x",
			AdditionalContexts: map[string]string{"context": local},
		}, "x", "FROM scratch\nCOPY file /local\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantContent(t, b, build(t, b, c.request), c.file, c.want)
		})
	}
}

func TestContextsRefused(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	git := gitServer(t, gitRepository(t), "")
	web := fileServer(t, nil)
	for name, c := range map[string]struct {
		request Request
		want    string
	}{
		"scheme":         {Request{Context: "file:///etc"}, "file:// is not supported: give a folder"},
		"missing":        {Request{Context: web + "/none.tar"}, "404"},
		"no such ref":    {Request{Context: git + "#nope"}, "nope"},
		"no such folder": {Request{Context: git + "#main:nope"}, "nope"},
		"empty stream":   {Request{Context: "-", Stdin: strings.NewReader(" \n")}, "the input is empty"},
		"no stream":      {Request{Context: "-"}, "there is no input"},
		"two sources":    {Request{Context: "-", Stdin: strings.NewReader("FROM scratch"), Dockerfile: "x"}, "ambiguous Dockerfile source"},
		"broken stream":  {Request{Context: "-", Stdin: io.MultiReader(strings.NewReader("FROM"), brokenReader{})}, "the cable was pulled"},
		"layout":         {Request{Context: t.TempDir(), DockerfileInline: "FROM scratch", AdditionalContexts: map[string]string{"l": "oci-layout:///none"}}, "/none is no OCI image layout"},
		"image missing":  {Request{Context: t.TempDir(), DockerfileInline: "FROM scratch", BuiltContexts: map[string]string{"l": "not-built"}}, "additional context l"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := b.Build(t.Context(), c.request, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the cable was pulled") }

// An image in a folder, by tag, by digest, or as the only one.
func TestContextLayout(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	dir := t.TempDir()
	archive := filepath.Join(dir, "a.tar")
	build(t, b, Request{Context: dir, DockerfileInline: "FROM busybox\nENV from=layout\nRUN echo layout > /l", Tags: []string{"l:v1"}, Outputs: []Output{{Type: "oci", Dest: archive}}})
	layout := filepath.Join(dir, "layout")
	if err := os.Mkdir(layout, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-xf", archive, "-C", layout).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dgst, err := resolveLayout(layout, "v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"", ":v1", "@" + string(dgst)} {
		r := Request{Context: dir, DockerfileInline: "FROM base\nRUN echo $from >> /l", AdditionalContexts: map[string]string{"base": "oci-layout://" + layout + ref}}
		wantContent(t, b, build(t, b, r), "l", "layout\nlayout\n")
	}
	_, err = b.Build(t.Context(), Request{Context: dir, DockerfileInline: "FROM base", AdditionalContexts: map[string]string{"base": "oci-layout://" + layout + ":v2"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "no image with the tag v2") {
		t.Errorf("another tag: %v", err)
	}
}

// An image of the store as a context is taken as it is, also when newer bases are asked for, which a registry would have.
func TestContextBuilt(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	repo := imagetest.StartRegistry(t, false) + "/base"
	imagetest.Push(t, repo+":v1", imagetest.Image{Layers: [][]imagetest.File{{{Path: "text", Body: "base"}}}})
	dir := t.TempDir()
	build(t, b, Request{Context: dir, DockerfileInline: "FROM " + repo + ":v1\nENV A=b\nCOPY <<EOF /made\nhere\nEOF", Tags: []string{"made-here"}})
	built := build(t, b, Request{
		Context: dir, DockerfileInline: "FROM made\nCOPY --from=made /made /copied", Pull: true, BuiltContexts: map[string]string{"made": "made-here"},
	})
	wantContent(t, b, built, "copied", "here\n")
	wantContent(t, b, built, "text", "base")
	if len(built.Config.Env) == 0 || built.Config.Env[len(built.Config.Env)-1] != "A=b" {
		t.Errorf("env %q", built.Config.Env)
	}
}

// A context from git over ssh, with the user's agent.
func TestContextGitOverSSH(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	repo := gitRepository(t)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	address := sshServer(t, key)
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	r := Request{Context: "ssh://git@" + address + repo + "#v1", SSH: []SSH{{ID: "default", Paths: []string{agentSocket(t, keys)}}}}
	wantContent(t, b, build(t, b, r), "file", "one\n")
	r.SSH, r.NoCache = []SSH{{ID: "default", Paths: []string{agentSocket(t, agent.NewKeyring())}}}, true
	r.Context = "ssh://git@" + address + repo + "#branch" // not yet fetched
	if _, err := b.Build(t.Context(), r, nil); err == nil {
		t.Error("built without the key")
	}
}

func agentSocket(t testing.TB, keys agent.Agent) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	serve(t, "unix", path, func(c net.Conn) { _ = agent.ServeAgent(keys, c) })
	return path
}

// serve accepts connections until the test has ended.
func serve(t testing.TB, network, address string, handle func(net.Conn)) net.Addr {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); handle(conn) }()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return listener.Addr()
}

// sshServer runs git-upload-pack for who has the key.
func sshServer(t testing.TB, key ssh.PublicKey) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
		if string(offered.Marshal()) != string(key.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return &ssh.Permissions{}, nil
	}}
	config.AddHostKey(signer)
	return serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		_, channels, requests, err := ssh.NewServerConn(c, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for offered := range channels {
			channel, requests, err := offered.Accept()
			if err != nil {
				return
			}
			go uploadPack(channel, requests)
		}
	}).String()
}

func uploadPack(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for r := range requests {
		if r.Type != "exec" {
			_ = r.Reply(r.Type == "env", nil)
			continue
		}
		var payload struct{ Command string }
		_ = r.Reply(ssh.Unmarshal(r.Payload, &payload) == nil, nil)
		repo, ok := strings.CutPrefix(payload.Command, "git-upload-pack ")
		if !ok {
			return
		}
		cmd := exec.Command("git", "-c", "safe.directory=*", "upload-pack", strings.Trim(repo, "'"))
		cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
		in, err := cmd.StdinPipe()
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(in, channel); _ = in.Close() }()
		status := struct{ Status uint32 }{}
		if cmd.Run() != nil {
			status.Status = 1
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(&status))
		return
	}
}
