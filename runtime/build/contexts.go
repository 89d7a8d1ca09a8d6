package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/staticfs"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

const defaultDockerfile = "Dockerfile"

// remote recognises contexts that the frontend fetches itself: URLs, and git's
// short forms "git@host:path" and "github.com/owner/name".
var remote = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([a-z][a-z0-9+.-]*://|git@|github\.com/)`) })

// IsRemote tells whether a context is fetched from elsewhere, and is no folder of this host.
func IsRemote(context string) bool { return remote().MatchString(context) }

// fetched are the schemes of contexts that BuildKit can fetch.
var fetched = []string{"http", "https", "git", "ssh"}

// addContexts lets the solver read the build's folders. Nothing is copied as a
// whole: the solver asks for what the Dockerfile uses and has changed.
func (b *Builder) addContexts(ctx context.Context, solve *client.SolveOpt, r Request) error {
	solve.LocalMounts = map[string]fsutil.FS{}
	dir, file := r.Context, r.Dockerfile
	switch {
	case r.Context == "-":
		text, err := addStdin(solve, r)
		if err != nil {
			return err
		}
		if text != "" {
			r.DockerfileInline = text
		}
		dir = ""
	case IsRemote(r.Context):
		if err := addRemote(solve, r.Context); err != nil {
			return err
		}
		dir = ""
	default:
		fs, err := openFolder("build context", r.Context)
		if err != nil {
			return err
		}
		solve.LocalMounts["context"] = fs
		solve.SharedKey = r.Context // identifies the folder's copy in the cache
	}
	if dir == "" && file != "" && !filepath.IsAbs(file) {
		solve.FrontendAttrs["filename"] = file // inside the remote context
	}
	if err := addDockerfile(solve, r.DockerfileInline, dir, file); err != nil {
		return err
	}
	if err := b.addBuiltContexts(ctx, solve, r.BuiltContexts); err != nil {
		return err
	}
	return addNamedContexts(solve, r.AdditionalContexts)
}

func addRemote(solve *client.SolveOpt, url string) error {
	if scheme, _, ok := strings.Cut(url, "://"); ok && !slices.Contains(fetched, scheme) {
		return fmt.Errorf("build context %s: %s:// is not supported: give a folder, or a URL that begins with one of %s",
			redact(url), scheme, strings.Join(fetched, ", "))
	}
	solve.FrontendAttrs["context"] = url
	return nil
}

func addNamedContexts(solve *client.SolveOpt, contexts map[string]string) error {
	for name, source := range contexts {
		key := "context:" + name
		if layout, ok := strings.CutPrefix(source, layoutScheme); ok {
			value, err := addLayout(solve, layout)
			if err != nil {
				return fmt.Errorf("additional context %s: %w", name, err)
			}
			solve.FrontendAttrs[key] = value
			continue
		}
		if IsRemote(source) {
			solve.FrontendAttrs[key] = source
			continue
		}
		fs, err := openFolder("additional context "+name, source)
		if err != nil {
			return err
		}
		local := name
		if name == "context" || name == "dockerfile" {
			local = "_" + name // those are the build's own
		}
		solve.LocalMounts[local] = fs
		solve.FrontendAttrs[key] = "local:" + local
	}
	return nil
}

// addDockerfile offers the Dockerfile's folder, for its .dockerignore too, or the
// inline text.
func addDockerfile(solve *client.SolveOpt, inline, dir, file string) error {
	if len(inline) > maxDockerfile {
		return fmt.Errorf("the Dockerfile has %d bytes, more than %d", len(inline), maxDockerfile)
	}
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
	path, err := findDockerfile(dir, file)
	if err != nil {
		return err
	}
	fs, err := openFolder("dockerfile's folder", filepath.Dir(path))
	if err != nil {
		return err
	}
	solve.LocalMounts["dockerfile"] = fs
	solve.FrontendAttrs["filename"] = filepath.Base(path)
	useLocalDockerfile(solve, dir)
	return nil
}

// findDockerfile is the path of the Dockerfile; like docker it takes "dockerfile"
// for a missing "Dockerfile".
func findDockerfile(dir, file string) (string, error) {
	candidates := []string{file}
	if file == "" {
		candidates = []string{defaultDockerfile, strings.ToLower(defaultDockerfile)}
	}
	var first error
	for _, path := range candidates {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		info, err := os.Stat(path)
		switch {
		case err == nil && info.Mode().IsRegular() && info.Size() <= maxDockerfile:
			return path, nil
		case err == nil && info.Mode().IsRegular():
			return "", fmt.Errorf("dockerfile %s has %d bytes, more than %d", path, info.Size(), maxDockerfile)
		case err == nil && info.IsDir():
			return "", fmt.Errorf("dockerfile %s is a folder", path)
		case err == nil:
			return "", fmt.Errorf("dockerfile %s is no regular file", path)
		case first == nil:
			first = fmt.Errorf("dockerfile: %w", err)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return "", first
}

// useLocalDockerfile makes a local Dockerfile win over the one of a remote context.
func useLocalDockerfile(solve *client.SolveOpt, dir string) {
	if dir == "" {
		solve.FrontendAttrs["dockerfilekey"] = "dockerfile"
	}
}
