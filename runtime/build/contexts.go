package build

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/staticfs"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

const defaultDockerfile = "Dockerfile"

// remote recognises contexts that the frontend fetches itself: URLs, and git's
// short forms "git@host:path" and "github.com/owner/name".
var remote = regexp.MustCompile(`^([a-z][a-z0-9+.-]*://|git@|github\.com/)`)

// addContexts lets the solver read the build's folders. Nothing is copied as a
// whole: the solver asks for what the Dockerfile uses and has changed.
func addContexts(solve *client.SolveOpt, r Request) error {
	solve.LocalMounts = map[string]fsutil.FS{}
	dir, file := r.Context, r.Dockerfile
	if remote.MatchString(r.Context) {
		solve.FrontendAttrs["context"] = r.Context
		dir = ""
		if file != "" && !filepath.IsAbs(file) {
			solve.FrontendAttrs["filename"] = file // inside the remote context
		}
	} else {
		fs, err := openFolder("build context", r.Context)
		if err != nil {
			return err
		}
		solve.LocalMounts["context"] = fs
		solve.SharedKey = r.Context // identifies the folder's copy in the cache
	}
	if err := addDockerfile(solve, r.DockerfileInline, dir, file); err != nil {
		return err
	}
	for name, source := range r.AdditionalContexts {
		key := "context:" + name
		if remote.MatchString(source) {
			solve.FrontendAttrs[key] = source
			continue
		}
		fs, err := openFolder("additional context "+name, source)
		if err != nil {
			return err
		}
		solve.LocalMounts[name] = fs
		solve.FrontendAttrs[key] = "local:" + name
	}
	return nil
}

// addDockerfile offers the Dockerfile's folder, for its .dockerignore too, or the
// inline text.
func addDockerfile(solve *client.SolveOpt, inline, dir, file string) error {
	if inline != "" {
		text := staticfs.NewFS()
		text.Add(defaultDockerfile, &types.Stat{Path: defaultDockerfile, Mode: 0o600, Size: int64(len(inline))}, []byte(inline))
		solve.LocalMounts["dockerfile"] = text
		solve.FrontendAttrs["filename"] = defaultDockerfile
		useLocalDockerfile(solve, dir)
		return nil
	}
	if dir == "" && !filepath.IsAbs(file) {
		return nil
	}
	if file == "" {
		file = defaultDockerfile
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("dockerfile: %w", err)
	}
	if info.IsDir() {
		return fmt.Errorf("dockerfile %s is a folder", file)
	}
	fs, err := openFolder("dockerfile's folder", filepath.Dir(file))
	if err != nil {
		return err
	}
	solve.LocalMounts["dockerfile"] = fs
	solve.FrontendAttrs["filename"] = filepath.Base(file)
	useLocalDockerfile(solve, dir)
	return nil
}

// useLocalDockerfile makes a local Dockerfile win over the one of a remote context.
func useLocalDockerfile(solve *client.SolveOpt, dir string) {
	if dir == "" {
		solve.FrontendAttrs["dockerfilekey"] = "dockerfile"
	}
}

func openFolder(what, path string) (fsutil.FS, error) {
	if strings.TrimSpace(path) == "" {
		return nil, fmt.Errorf("%s is missing", what)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s %s is not a folder", what, path)
	}
	fs, err := fsutil.NewFS(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return fs, nil
}
