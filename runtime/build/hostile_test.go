package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// canaryFolder is a folder of the host with something in it that no build may see or change.
func canaryFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"empty", "b"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "canary"), []byte("of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func wantUntouched(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 3 {
		t.Errorf("the host's folder has %v, %v", list, err)
	}
}

// Archives that ADD unpacks are not decompressed by programs of the image that is being built (CVE-2026-41567).
func TestBuildRunsNoDecompressorOfTheImage(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	w := tar.NewWriter(zip)
	if err := w.WriteHeader(&tar.Header{Name: "unpacked", Mode: 0o644, Size: 4}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("fine")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	text := "FROM busybox\n"
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		for _, name := range []string{"unpigz", "igzip", "gzip", "gunzip", "zstd", "tar"} {
			text += "COPY --chmod=755 trojan " + dir + "/" + name + "\n"
		}
	}
	built := build(t, b, runs(t, b, text+"ADD a.tar.gz /\n", map[string]string{
		"trojan": "#!/bin/busybox sh\n/bin/busybox touch /pwned\nexec /bin/busybox gzip -dc\n", "a.tar.gz": archive.String(),
	}))
	wantContent(t, b, built, "unpacked", "fine")
	if _, ok := fileOf(t, b, built, "pwned"); ok {
		t.Error("a program of the image ran")
	}
}

// Neither the folder of a mount's source nor a mount point leads out of what it belongs to, however the steps of a
// build change it meanwhile: caches (CVE-2024-23651), stubs that are removed afterwards (CVE-2024-23652), mounts from
// other stages (CVE-2024-1753).
func TestBuildMountsStayInside(t *testing.T) {
	t.Parallel()
	b, dir := openBuilder(t), canaryFolder(t)
	up := "../../../../../../../../../.."
	for name, text := range map[string]string{
		"stub": "RUN --mount=type=tmpfs,target=/a/b umount /a/b 2>/dev/null; mv /a /old; ln -s " + dir + " /a",
		"stub through a link": "RUN ln -s " + up + dir + " /a\nRUN --mount=type=tmpfs,target=/a/empty/made true\n" +
			"RUN --mount=type=cache,target=/a/b true",
		"cache source":      "RUN --mount=type=cache,target=/c,source=" + up + dir + " ! ls /c/canary",
		"bind source":       "RUN --mount=type=bind,target=/c,source=" + up + dir + " ! ls /c/canary",
		"link in the stage": "RUN ln -s " + up + dir + " /way\nFROM busybox\nRUN --mount=type=bind,from=first,source=/way,target=/c ! ls /c/canary",
		"working folder":    "RUN ln -s " + up + dir + " /way\nWORKDIR /way/made\nRUN touch file",
		"copy through":      "RUN ln -s " + up + dir + " /way\nCOPY Dockerfile /way/new",
		"copy from":         "RUN ln -s " + up + dir + " /way\nFROM busybox\nCOPY --from=first /way/canary* /found/\nRUN ! ls /found/canary",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := runs(t, b, "FROM busybox AS first\n"+text, map[string]string{"Dockerfile": "x"})
			if _, err := b.Build(t.Context(), r, nil); err != nil {
				if strings.Contains(err.Error(), "ls /") && strings.Contains(err.Error(), "exit code") {
					t.Errorf("the host's folder was seen: %v", err)
				}
				t.Log(err) // refused is fine, too
			}
			wantUntouched(t, dir)
		})
	}
}

// A cache whose folders another build swaps with links all the time shows nothing of the host (CVE-2024-23651).
func TestBuildCacheRace(t *testing.T) {
	t.Parallel()
	b, dir := openBuilder(t), canaryFolder(t)
	swap := "for i in $(seq 400); do mkdir -p /c/sub; rm -rf /c/sub; ln -s ../../../../../../../../../.." + dir + " /c/sub; rm /c/sub; done; mkdir -p /c/sub"
	done := make(chan error, 1)
	go func() {
		_, err := b.Build(t.Context(), runs(t, b, "FROM busybox\nRUN --mount=type=cache,id=shared,target=/c "+swap, nil), nil)
		done <- err
	}()
	for i := range 8 {
		r := runs(t, b, "FROM busybox\nRUN --mount=type=cache,id=shared,source=sub,target=/m ls -A /m > /seen; ! [ -e /m/canary ]", nil)
		r.NoCache = true
		if _, err := b.Build(t.Context(), r, nil); err != nil && strings.Contains(err.Error(), "exit code") {
			t.Errorf("round %d: the host's folder was seen: %v", i, err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	wantUntouched(t, dir)
}

// Links of a build context lead nowhere outside of it, and neither does the name of a Dockerfile in it.
func TestBuildContextStaysInside(t *testing.T) {
	t.Parallel()
	b, dir := openBuilder(t), canaryFolder(t)
	for name, text := range map[string]string{
		"link": "COPY link /got", "link to a folder": "COPY folder/canary /got", "dots": "COPY ../../../../../../../.." + dir + "/canary /got",
		"bind": "RUN --mount=type=bind,target=/ctx cat /ctx/link /ctx/folder/canary > /got",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := runs(t, b, "FROM busybox\n"+text, nil)
			for link, target := range map[string]string{"link": dir + "/canary", "folder": dir} {
				if err := os.Symlink(target, filepath.Join(r.Context, link)); err != nil {
					t.Fatal(err)
				}
			}
			built, err := b.Build(t.Context(), r, nil)
			if err != nil {
				return // there is no such file in the context
			}
			if got, _ := fileOf(t, b, built.Image, "got"); strings.Contains(got, "of the host") {
				t.Error("the host's file is in the image")
			}
		})
	}
}
