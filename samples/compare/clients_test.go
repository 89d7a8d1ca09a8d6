package compare

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const clientsSection = "Docker's clients building on tutti"

// clientRow is a build that docker's own command asks both engines for.
type clientRow struct {
	name  string
	files map[string]string // beside the folder's Dockerfile
	flags []string          // {{DIR}} is a folder of the engine's own
	out   string            // a file or folder below {{DIR}} that is the result, not an image
	kit   bool              // not with the classic builder
}

var clientRows = []clientRow{
	{name: "plain", files: map[string]string{"Dockerfile": "FROM busybox:latest\nCOPY f /f\nRUN cat /f > /g && chmod 600 /g\nENV A=b\nCMD [\"cat\", \"/g\"]\n", "f": "file\n"}},
	{name: "arguments, labels and target", flags: []string{"--build-arg", "A=x", "--label", "l=v", "--target", "one"}, files: map[string]string{
		"Dockerfile": "FROM busybox:latest AS one\nARG A\nRUN echo $A > /a\nFROM one\nRUN false\n",
	}},
	{name: "ignored files", files: map[string]string{"Dockerfile": "FROM busybox:latest\nCOPY . /all\n", ".dockerignore": "*.log\n!keep.log\n", "a.log": "a", "keep.log": "k", "x": "y"}},
	{name: "secret", kit: true, flags: []string{"--secret", "id=s,src=s"}, files: map[string]string{"Dockerfile": "FROM busybox:latest\nRUN --mount=type=secret,id=s cat /run/secrets/s > /seen\n", "s": "secret\n"}},
	{name: "network none", flags: []string{"--network", "none"}, files: map[string]string{"Dockerfile": "FROM busybox:latest\nRUN ls /sys/class/net > /net\n"}},
	{name: "hosts", flags: []string{"--add-host", "two:10.9.8.7"}, files: map[string]string{"Dockerfile": "FROM busybox:latest\nRUN grep two /etc/hosts > /hosts\n"}},
	{name: "folder as output", kit: true, flags: []string{"-o", "{{DIR}}/out"}, out: "out/made", files: map[string]string{"Dockerfile": "FROM busybox:latest AS b\nRUN echo made > /made\nFROM scratch\nCOPY --from=b /made /made\n"}},
	{name: "failing step", files: map[string]string{"Dockerfile": "FROM busybox:latest\nRUN echo why; exit 7\n"}},
	{name: "missing file", files: map[string]string{"Dockerfile": "FROM busybox:latest\nCOPY nothing /\n"}},
	{name: "security.insecure", kit: true, flags: []string{"--allow", "security.insecure"}, files: map[string]string{"Dockerfile": "FROM busybox:latest\n"}},
}

// The docker command builds on both engines: images, outputs and errors are compared.
func TestDockerClients(t *testing.T) {
	dir := t.TempDir()
	keep := filepath.Join(dir, "compose.yaml")
	if err := os.WriteFile(keep, []byte("name: keep\nservices: {s: {image: 'busybox:latest', command: sleep 10000, network_mode: none, init: true}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	both.tutti.must(t, "-f", keep, "up", "-d") // the engine stays, which docker's command would not start
	defer both.tutti.must(t, "-f", keep, "down", "-t", "0")
	there := &peer{
		name: "docker on tutti", room: both.tutti.room, command: both.docker.command, socket: both.tutti.socket,
		env: append(append([]string{}, both.docker.env...), "DOCKER_HOST=unix://"+both.tutti.socket),
	}
	for i, c := range clientRows {
		t.Run(c.name, func(t *testing.T) {
			r := newRow(t, clientsSection, c.name)
			defer r.end()
			if c.kit && builder == "classic" {
				r.unable("the classic builder")
				return
			}
			c.compare(t, r, filepath.Join(dir, itoa(i)), there)
		})
	}
}

func (c clientRow) compare(t *testing.T, r *row, dir string, there *peer) {
	for name, text := range c.files {
		file := filepath.Join(dir, "context", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tag := "client:" + filepath.Base(dir)
	build := func(p *peer, own string) result {
		args := []string{"build", "-t", tag}
		for _, f := range c.flags {
			args = append(args, strings.ReplaceAll(f, "{{DIR}}", filepath.Join(dir, own)))
		}
		return p.runWith(t, input{dir: filepath.Join(dir, "context")}, append(args, ".")...)
	}
	docker, tutti := build(both.docker, "docker"), build(there, "tutti")
	r.equal("exit code", itoa(docker.code), itoa(tutti.code))
	if docker.code != 0 || tutti.code != 0 {
		r.equal("error", lastLine(docker.stderr), lastLine(tutti.stderr))
		return
	}
	if c.out == "" {
		compareImages(t, r, saved(t, both.docker, filepath.Join(dir, "docker.tar"), tag), saved(t, there, filepath.Join(dir, "tutti.tar"), tag))
		return
	}
	read := func(own string) string {
		data, err := os.ReadFile(filepath.Join(dir, own, c.out))
		if err != nil {
			return err.Error()
		}
		return string(data)
	}
	r.equal("output", read("docker"), read("tutti"))
}
