package compare

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	archiveSection  = "archives"
	registrySection = "registry"
)

// archiveDockerfile makes an image with several layers and a configuration.
const archiveDockerfile = `FROM busybox:latest
RUN mkdir -p /a/b && echo one > /a/b/one && ln /a/b/one /a/hard && ln -s b /a/link && chmod 4711 /a/b/one
RUN rm -r /a/b && mkdir /a/b && echo two > /a/b/two && chown 12:34 /a/b/two && mkfifo /a/fifo
ENV A=1
LABEL l="a b"
VOLUME /v
EXPOSE 80
HEALTHCHECK CMD true
USER 12:34
WORKDIR /a
ENTRYPOINT ["cat"]
CMD ["b/two"]
`

// exchange is the way from one engine to the other.
type exchange struct{ from, to *peer }

func exchanges() []exchange {
	return []exchange{{both.docker, both.tutti}, {both.tutti, both.docker}}
}

func (x exchange) String() string { return x.from.name + " to " + x.to.name }

// build builds an image in the engine that it comes from, with a layer that no other image has.
func (x exchange) build(t *testing.T, dir string, tags ...string) {
	t.Helper()
	context := filepath.Join(dir, strings.NewReplacer(" ", "-", ":", "-").Replace(x.from.name+tags[0]))
	if err := os.MkdirAll(context, 0o755); err != nil {
		t.Fatal(err)
	}
	text := archiveDockerfile + "LABEL own=" + tags[0] + "\n"
	if err := os.WriteFile(filepath.Join(context, "Dockerfile"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"image", "build", "-q"}
	for _, tag := range tags {
		args = append(args, "-t", tag)
	}
	if builder == "buildx" && x.from == both.docker {
		args = append(args, "--load", "--provenance=false")
	}
	x.from.must(t, append(args, context)...)
}

// TestArchives takes images from each engine to the other, in each kind of archive.
func TestArchives(t *testing.T) {
	for _, x := range exchanges() {
		dir := t.TempDir()
		name := x.from.name + "-made:1"
		x.build(t, dir, name, x.from.name+"-made:2")
		x.build(t, dir, x.from.name+"-second:1")
		want := saved(t, x.from, filepath.Join(dir, "plain.tar"), name)
		for _, c := range []struct{ name, program string }{{"save and load", ""}, {"gzip", "gzip"}, {"xz", "xz"}, {"bzip2", "bzip2"}, {"zstd", "zstd"}} {
			r := newRow(t, archiveSection, x.String()+", "+c.name)
			x.load(t, r, dir, c.program, name, want)
			r.end()
		}
		x.ociArchive(t, dir, name, want)
		x.several(t, dir)
		x.rootfs(t, dir, name)
		x.again(t, dir, name)
	}
}

// load takes an archive, compressed by a program, to the other engine, and compares what that saves, byte by byte in the
// configuration and file by file.
func (x exchange) load(t *testing.T, r *row, dir, program, name string, want imageFiles) {
	t.Helper()
	file := filepath.Join(dir, "plain.tar")
	if program != "" {
		out, err := exec.Command("sh", "-ec", program+" -c <"+file+" >"+file+"."+program).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", program, err, out)
		}
		file += "." + program
	}
	x.loadFile(t, r, dir, file, name, want)
}

func (x exchange) loadFile(t *testing.T, r *row, dir, file, name string, want imageFiles) {
	t.Helper()
	got := x.to.run(t, "image", "load", "-i", file)
	if got.code != 0 && x.to == both.docker && (oldDocker || strings.Contains(got.stderr, "zstd")) {
		r.unable(lastLine(got.stderr))
		return
	}
	r.equal("exit code", "0", itoa(got.code))
	if got.code != 0 {
		t.Log(got)
		return
	}
	r.equal("what load says", "Loaded image: "+name, lastLine(got.stdout))
	back := saved(t, x.to, filepath.Join(dir, "back.tar"), name)
	r.equal("id", want.id, back.id)
	compareImages(t, r, want, back)
	x.to.must(t, "image", "rm", name)
}

// ociArchive makes an OCI archive of docker's by skopeo.
func (x exchange) ociArchive(t *testing.T, dir, name string, want imageFiles) {
	t.Helper()
	r := newRow(t, archiveSection, x.String()+", OCI archive")
	defer r.end()
	file := filepath.Join(dir, "oci.tar")
	out, err := exec.Command("skopeo", "--insecure-policy", "copy", "docker-archive:"+filepath.Join(dir, "plain.tar")+":docker.io/library/"+name, "oci-archive:"+file+":docker.io/library/"+name).CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo: %v: %s", err, out)
	}
	x.loadFile(t, r, dir, file, name, want)
}

// several saves several images with several names in one archive.
func (x exchange) several(t *testing.T, dir string) {
	t.Helper()
	r := newRow(t, archiveSection, x.String()+", several images and names")
	defer r.end()
	file := filepath.Join(dir, "several.tar")
	x.from.must(t, "save", "-o", file, x.from.name+"-made", x.from.name+"-second:1")
	x.to.must(t, "load", "-i", file)
	names := func(p *peer) string {
		lines := strings.Split(strings.TrimSpace(p.must(t, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}")), "\n")
		lines = slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, x.from.name+"-") })
		slices.Sort(lines)
		return strings.Join(lines, " ")
	}
	r.equal("names", names(x.from), names(x.to))
	for _, n := range strings.Fields(names(x.from)) {
		compareImages(t, r, saved(t, x.from, file, n), saved(t, x.to, file+".back", n))
	}
	x.to.must(t, append([]string{"image", "rm"}, strings.Fields(names(x.to))...)...)
}

// rootfs exports a container and imports that into the other.
func (x exchange) rootfs(t *testing.T, dir, name string) {
	t.Helper()
	r := newRow(t, archiveSection, x.String()+", export and import")
	defer r.end()
	container := "archive-" + x.from.name
	if x.from == both.docker {
		x.from.must(t, "create", "--name", container, "--network", "none", name)
		defer x.from.must(t, "rm", "-v", container)
	} else {
		file := filepath.Join(dir, "compose.yaml")
		if err := os.WriteFile(file, []byte("services: {s: {image: '"+name+"', container_name: "+container+", network_mode: none}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		x.from.must(t, "-p", container, "-f", file, "create")
		defer x.from.must(t, "-p", container, "-f", file, "down", "-v")
	}
	file := filepath.Join(dir, "rootfs.tar")
	x.from.must(t, "container", "export", "-o", file, container)
	changes := []string{"-c", "CMD [\"cat\", \"/a/b/two\"]", "-c", "ENV X=1", "-m", "why", file}
	x.from.must(t, append(append([]string{"image", "import"}, changes...), "imported:"+x.from.name)...)
	x.to.must(t, append(append([]string{"image", "import"}, changes...), "imported:"+x.from.name)...)
	compareImages(t, r, saved(t, x.from, file+".from", "imported:"+x.from.name), saved(t, x.to, file+".to", "imported:"+x.from.name))
}

// again saves an image twice: the same bytes.
func (x exchange) again(t *testing.T, dir, name string) {
	t.Helper()
	r := newRow(t, archiveSection, x.from.name+" saves the same again")
	defer r.end()
	var texts []string
	for _, file := range []string{"again1.tar", "again2.tar"} {
		x.from.must(t, "save", "-o", filepath.Join(dir, file), name)
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	if texts[0] != texts[1] {
		r.differ("archive", "other bytes", "other bytes")
	}
}
