package build

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session/upload/uploadprovider"
	"github.com/moby/buildkit/util/staticfs"
)

const (
	// maxDockerfile bounds a Dockerfile: BuildKit's parser takes time with the square of
	// a heredoc's length.
	maxDockerfile = 2 << 20
	archivePeek   = 1 << 10
)

// archiveMagic begins a compressed tar: gzip, bzip2, xz, zstd.
var archiveMagic = [][]byte{{0x1f, 0x8b, 0x08}, {0x42, 0x5a, 0x68}, {0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00}, {0x28, 0xb5, 0x2f, 0xfd}}

// addStdin makes the build's context of a stream: of a tar, or an empty one when it
// is the text of a Dockerfile, which is returned.
func addStdin(solve *client.SolveOpt, r Request) (dockerfile string, err error) {
	if r.Stdin == nil {
		return "", errors.New("build context -: there is no input")
	}
	in := bufio.NewReaderSize(r.Stdin, archivePeek)
	head, err := in.Peek(archivePeek)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("build context -: %w", err)
	}
	if isArchive(head) {
		solve.FrontendAttrs["context"] = uploads(solve).Add(io.NopCloser(in))
		return "", nil
	}
	if r.Dockerfile != "" {
		return "", errors.New("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
	}
	text, err := io.ReadAll(io.LimitReader(in, maxDockerfile+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("build context -: %w", err)
	case len(text) > maxDockerfile:
		return "", fmt.Errorf("build context -: it is no tar, and a Dockerfile of more than %d MiB is not read", maxDockerfile>>20)
	case len(bytes.TrimSpace(text)) == 0:
		return "", errors.New("build context -: the input is empty")
	}
	solve.LocalMounts["context"] = staticfs.NewFS()
	return string(text), nil
}

func isArchive(head []byte) bool {
	for _, magic := range archiveMagic {
		if bytes.HasPrefix(head, magic) {
			return true
		}
	}
	_, err := tar.NewReader(bytes.NewReader(head)).Next()
	return err == nil
}

// uploads are the streams that the solver may ask for.
func uploads(solve *client.SolveOpt) *uploadprovider.Uploader {
	for _, a := range solve.Session {
		if up, ok := a.(*uploadprovider.Uploader); ok {
			return up
		}
	}
	up := uploadprovider.New()
	solve.Session = append(solve.Session, up)
	return up
}
