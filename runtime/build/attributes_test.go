package build

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tutti/runtime/image"
	"tutti/runtime/image/imagetest"
)

// What a build may be given beside its files, by effect.
func TestAttributes(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	t.Run("no_cache_filter", func(t *testing.T) {
		t.Parallel()
		r := runs(t, b, "FROM busybox AS a\nRUN cat /proc/uptime > /a\nFROM busybox AS b\nRUN cat /proc/uptime > /b\nFROM scratch\nCOPY --from=a /a /a\nCOPY --from=b /b /b", nil)
		old := build(t, b, r)
		r.NoCacheFilter = []string{"b"}
		again := build(t, b, r)
		oldA, _ := fileOf(t, b, old, "a")
		oldB, _ := fileOf(t, b, old, "b")
		wantContent(t, b, again, "a", oldA)
		if newB, _ := fileOf(t, b, again, "b"); newB == oldB {
			t.Error("the stage came from the cache")
		}
	})
	t.Run("entitlements", func(t *testing.T) {
		t.Parallel()
		text := "# syntax=docker/dockerfile:1-labs\nFROM busybox\nRUN --security=insecure mount -t tmpfs none /tmp && grep Cap /proc/self/status > /caps"
		r := runs(t, b, text, nil)
		if _, err := b.Build(t.Context(), r, nil); err == nil || !strings.Contains(err.Error(), "security.insecure is not allowed") {
			t.Errorf("without the entitlement: %v", err)
		}
		r.Privileged = true
		if caps, _ := fileOf(t, b, build(t, b, r), "caps"); caps == "" || strings.Contains(caps, "a80425fb") {
			t.Errorf("capabilities %q", caps)
		}
		r = runs(t, b, "FROM busybox\nRUN --network=host ls /sys/class/net > /net", nil)
		if _, err := b.Build(t.Context(), r, nil); err == nil || !strings.Contains(err.Error(), "network.host is not allowed") {
			t.Errorf("without the entitlement: %v", err)
		}
		r.Entitlements = []string{"network.host"}
		build(t, b, r)
	})
	t.Run("limits", func(t *testing.T) {
		t.Parallel()
		r := runs(t, b, "FROM busybox\nRUN echo fits\nRUN head -c 64000000 /dev/zero | tail -c 63000000 > /dev/null", nil)
		r.Limits = Limits{Memory: 24 << 20, MemorySwap: 24 << 20}
		if _, err := b.Build(t.Context(), r, nil); err == nil || !strings.Contains(err.Error(), "out of memory") && !strings.Contains(err.Error(), "exit code: 137") {
			t.Errorf("with too little memory: %v", err)
		}
		r.Limits.Memory, r.Limits.MemorySwap = 256<<20, 256<<20
		build(t, b, r)
	})
	t.Run("labels and annotations", func(t *testing.T) {
		t.Parallel()
		r := runs(t, b, "FROM scratch\nLABEL a=file b=file\nCOPY Dockerfile /", map[string]string{"Dockerfile": "x"})
		r.Labels, r.Annotations = map[string]string{"b": "given"}, map[string]string{"note": "it"}
		built := build(t, b, r)
		if built.Config.Labels["a"] != "file" || built.Config.Labels["b"] != "given" {
			t.Errorf("labels %v", built.Config.Labels)
		}
	})
	t.Run("hosts", func(t *testing.T) {
		t.Parallel()
		r := runs(t, b, "FROM busybox\nRUN grep two /etc/hosts > /hosts", nil)
		r.ExtraHosts = map[string][]string{"two": {"10.0.0.1", "fd00::2"}}
		wantContent(t, b, build(t, b, r), "hosts", "10.0.0.1\ttwo\nfd00::2\ttwo\n")
	})
	t.Run("platforms", func(t *testing.T) {
		t.Parallel()
		r := runs(t, b, "FROM busybox\nARG TARGETPLATFORM\nARG TARGETOS\nRUN echo $TARGETPLATFORM $TARGETOS > /platform", nil)
		r.Platforms = []string{"linux"}
		if text, _ := fileOf(t, b, build(t, b, r), "platform"); !strings.HasPrefix(text, "linux/") || !strings.HasSuffix(text, " linux\n") {
			t.Errorf("platform %q", text)
		}
	})
}

// Caches in a registry, beside it and in the image itself are used by a builder that has nothing.
func TestCaches(t *testing.T) {
	t.Parallel()
	registry := imagetest.StartRegistry(t, false)
	dir := folder(t, map[string]string{"Dockerfile": "FROM busybox AS first\nRUN echo first > /first\nFROM busybox\nCOPY --from=first /first /x\nRUN cat /proc/uptime > /made"})
	local := t.TempDir()
	first := openBuilder(t)
	r := Request{Context: dir, Args: map[string]string{inlineCacheArg: "1"}, Outputs: []Output{{Type: "registry"}}, Tags: []string{registry + "/app:v1"}}
	built := build(t, first, r)
	made, _ := fileOf(t, first, built, "made")
	r = Request{Context: dir, CacheTo: []string{"type=registry,ref=" + registry + "/app:cache,mode=max", "type=local,dest=" + local + ",mode=max"}, Outputs: []Output{{Type: "cacheonly"}}}
	if _, err := first.Build(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{
		"inline": registry + "/app:v1", "registry": "type=registry,ref=" + registry + "/app:cache", "local": "type=local,src=" + local,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := openBuilder(t)
			again := build(t, b, Request{Context: dir, CacheFrom: []string{from}})
			wantContent(t, b, again, "made", made)
		})
	}
	t.Run("missing", func(t *testing.T) {
		t.Parallel()
		build(t, openBuilder(t), Request{Context: dir, CacheFrom: []string{registry + "/none:1"}})
	})
}

// Statements about the build stand beside the image, which is the same.
func TestAttestations(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	dir := t.TempDir()
	archive := filepath.Join(dir, "out.tar")
	scanner := `FROM busybox
COPY --chmod=755 <<"EOF" /scan
#!/bin/sh
echo '{"SPDXID":"SPDXRef-DOCUMENT","spdxVersion":"SPDX-2.3","name":"scanned","packages":[]}' > $BUILDKIT_SCAN_DESTINATION/sbom.spdx.json
sed -i 's#^#{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","predicate":#; s#$#}#' $BUILDKIT_SCAN_DESTINATION/sbom.spdx.json
EOF
ENTRYPOINT ["/scan"]`
	build(t, b, Request{Context: dir, DockerfileInline: scanner, Tags: []string{"scanner:1"}})
	r := Request{
		Context: dir, DockerfileInline: "FROM busybox\nRUN echo attested > /x", Tags: []string{"attested:1"},
		Provenance: "mode=max", SBOM: "generator=scanner:1", Outputs: []Output{{Type: "image"}, {Type: "oci", Dest: archive}},
	}
	built := build(t, b, r)
	wantContent(t, b, built, "x", "attested\n")
	text, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"https://slsa.dev/provenance", "https://spdx.dev/Document", "attestation-manifest"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the archive has no %s", want)
		}
	}
	r.Provenance, r.SBOM, r.Outputs = "false", "false", nil
	plain := build(t, b, r)
	if plain.ID != built.ID {
		t.Errorf("the attested image is %s, the plain one %s", built.ID, plain.ID)
	}
	if len(plain.Names) != 1 || plain.Names[0] != "attested:1" {
		t.Errorf("names %q", plain.Names)
	}
}

// Each place for the result, several at once; what fails leaves nothing.
func TestOutputs(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	dir := t.TempDir()
	var stream strings.Builder
	r := Request{Context: dir, DockerfileInline: "FROM busybox\nRUN echo output > /file\nFROM scratch\nCOPY --from=0 /file /file", Tags: []string{"out:1"}, Outputs: []Output{
		{Type: "local", Dest: filepath.Join(dir, "folder")},
		{Type: "tar", To: &stream},
		{Type: "docker", Dest: filepath.Join(dir, "docker.tar")},
		{Type: "oci", Dest: filepath.Join(dir, "oci.tar")},
		{Type: "image", Attrs: map[string]string{"name": "second:2"}},
	}}
	result, err := b.Build(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(result.Names, " ") != "out:1 second:2" || result.Metadata["image.name"] != "docker.io/library/out:1,docker.io/library/second:2" {
		t.Errorf("names %q, metadata %q", result.Names, result.Metadata)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "folder/file")); string(text) != "output\n" {
		t.Errorf("folder: %q, %v", text, err)
	}
	if !strings.Contains(stream.String(), "output\n") {
		t.Error("the tar has no file")
	}
	for _, name := range []string{"docker.tar", "oci.tar"} {
		loadArchive(t, filepath.Join(dir, name), result.ID)
	}
	failing := Request{Context: dir, DockerfileInline: "FROM busybox\nRUN exit 1", Outputs: []Output{{Type: "tar", Dest: filepath.Join(dir, "failed.tar")}, {Type: "local", Dest: filepath.Join(dir, "failed")}}}
	if _, err := b.Build(t.Context(), failing, nil); err == nil {
		t.Error("a failing step was built")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*failed*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	for text, bad := range map[string]Output{
		`output type "zip" is not supported`: {Type: "zip"}, "dest is required for local exporter": {Type: "local"},
		"dest is required for tar exporter": {Type: "tar"}, "is a directory": {Type: "tar", Dest: dir},
		"tag is needed when pushing": {Type: "registry"}, "is a file": {Type: "local", Dest: filepath.Join(dir, "oci.tar")},
	} {
		_, err := b.Build(t.Context(), Request{Context: dir, DockerfileInline: "FROM scratch", Outputs: []Output{bad}}, nil)
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v, want %q", bad, err, text)
		}
	}
}

// loadArchive checks that an archive holds an image.
func loadArchive(t *testing.T, path, id string) {
	t.Helper()
	archive, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	store, err := image.Open(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	loaded, err := store.Load(t.Context(), archive, image.LoadOptions{})
	if err != nil || len(loaded) != 1 {
		t.Fatalf("%s: %v, %v", path, loaded, err)
	}
	if loaded[0].ID != id {
		t.Logf("%s: the image is %s, that in the store %s", path, loaded[0].ID, id)
	}
}

// The checks' findings are those of docker build --check, whether it would build or not.
func TestCheck(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	for name, c := range map[string]struct {
		text string
		want Findings
	}{
		"clean":     {"FROM busybox\nCMD [\"sh\"]", Findings{Text: "Check complete, no warnings found.\n"}},
		"warning":   {"FROM busybox AS Upper\nCMD [\"sh\"]", Findings{Warnings: 1, Text: "StageNameCasing"}},
		"skipped":   {"# check=skip=StageNameCasing\nFROM busybox AS Upper\nCMD [\"sh\"]", Findings{Text: "no warnings found"}},
		"broken":    {"FROM busybox\nRUNN x", Findings{Failed: true, Text: "unknown instruction: RUNN"}},
		"by itself": {"FROM other\nCMD [\"sh\"]", Findings{Text: "no warnings found"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := runs(t, b, c.text, nil)
			r.BuiltContexts = map[string]string{"other": "not-built-yet"}
			got, err := b.Check(t.Context(), r, nil)
			if err != nil || got.Warnings != c.want.Warnings || got.Failed != c.want.Failed || !strings.Contains(got.Text, c.want.Text) {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
		})
	}
	// "# check=error=true" makes them errors of the build.
	_, err := b.Build(t.Context(), runs(t, b, "# check=error=true\nFROM busybox AS Upper", nil), nil)
	if err == nil || !strings.Contains(err.Error(), "lint violation found for rules: StageNameCasing") {
		t.Errorf("with check=error=true: %v", err)
	}
}
