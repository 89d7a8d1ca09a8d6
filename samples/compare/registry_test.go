package compare

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const registryAddress = "127.0.0.1:5055"

// startRegistry starts a registry in the rooms of both, on one folder: each reaches it at the same address.
func startRegistry(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: " + dir + "/data}}\nhttp: {addr: '" + registryAddress + "'}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*peer{both.docker, both.tutti} {
		command := p.room.command("docker-registry", "serve", config)
		cmd := exec.Command(command[0], command[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		probe := p.room.command("sh", "-c", "exec 3<>/dev/tcp/127.0.0.1/5055")
		probe[len(probe)-3] = "bash"
		deadline := time.Now().Add(30 * time.Second)
		for exec.Command(probe[0], probe[1:]...).Run() != nil {
			if time.Now().After(deadline) {
				t.Fatal("the registry does not answer")
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// digests are those in what push and pull say.
var digests = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// TestRegistry pushes with one and pulls with the other.
func TestRegistry(t *testing.T) {
	startRegistry(t)
	for _, x := range exchanges() {
		dir := t.TempDir()
		local := x.from.name + "-pushed:1"
		x.build(t, dir, local)
		name := registryAddress + "/team/" + local
		x.from.must(t, "image", "tag", local, name)

		r := newRow(t, registrySection, x.String()+", push and pull")
		pushed := x.from.must(t, "image", "push", name)
		pulled := x.to.must(t, "image", "pull", name)
		r.equal("digest", last(digests.FindAllString(pushed, -1)), last(digests.FindAllString(pulled, -1)))
		r.equal("digest in inspect", repoDigest(t, x.from, name), repoDigest(t, x.to, name))
		compareImages(t, r, saved(t, x.from, filepath.Join(dir, "from.tar"), name), saved(t, x.to, filepath.Join(dir, "to.tar"), name))
		r.end()

		r = newRow(t, registrySection, x.String()+", by digest")
		digest := last(digests.FindAllString(pushed, -1))
		byDigest := registryAddress + "/team/" + strings.TrimSuffix(local, ":1") + "@" + digest
		x.to.must(t, "image", "rm", name)
		got := x.to.run(t, "image", "pull", byDigest)
		r.equal("exit code", "0", itoa(got.code))
		r.end()

		r = newRow(t, registrySection, x.String()+", what was pulled is pushed again")
		x.to.must(t, "image", "tag", byDigest, name)
		again := x.to.must(t, "image", "push", name)
		r.equal("digest", digest, last(digests.FindAllString(again, -1)))
		r.end()

		r = newRow(t, registrySection, x.String()+", all tags")
		many := registryAddress + "/many/" + x.from.name
		x.from.must(t, "image", "tag", local, many+":a")
		x.from.must(t, "image", "tag", local, many+":b")
		if got := x.from.run(t, "image", "push", "--all-tags", many); got.code != 0 {
			t.Error(got)
		}
		if got := x.to.run(t, "image", "pull", "--all-tags", many); got.code != 0 {
			t.Error(got)
		}
		r.equal("tags", tags(t, x.from, many), tags(t, x.to, many))
		r.end()
	}
}

func last(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}

func repoDigest(t *testing.T, p *peer, name string) string {
	t.Helper()
	return last(digests.FindAllString(p.must(t, "image", "inspect", "--format", "{{json .RepoDigests}}", name), -1))
}

func tags(t *testing.T, p *peer, repository string) string {
	t.Helper()
	return strings.Join(strings.Fields(p.must(t, "image", "ls", "--format", "{{.Tag}}", repository)), " ")
}
