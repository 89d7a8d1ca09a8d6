package project

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/consts"
	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"
)

// DefaultFiles are the names looked for, best first, and DefaultOverrides those of
// the file merged over the one that was found.
var (
	DefaultFiles     = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
	DefaultOverrides = []string{"compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"}
)

const envEnvFiles = "COMPOSE_ENV_FILES"

// location is where a project is and what its variables are.
type location struct {
	cwd      string
	dir      string   // project directory, absolute
	explicit bool     // dir was given by the user
	files    []string // absolute, or "-"
	env      types.Mapping
	envFiles []string // that env was read from, or would be if they were there
	profiles []string
	notes    []string
}

// locate follows docker compose: the process environment always wins; a .env next to
// the user may name the files (COMPOSE_FILE), the one next to the files completes it.
func locate(o Options) (*location, error) {
	l := &location{cwd: o.WorkingDir, env: types.Mapping{}}
	if l.cwd == "" {
		cwd, err := os.Getwd()
		if err != nil {
			return nil, fmt.Errorf("find the current directory: %w", err)
		}
		l.cwd = cwd
	}
	for _, kv := range o.Environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k != "" {
			l.env[k] = v
		}
	}
	if _, ok := l.env["PWD"]; !ok {
		l.env["PWD"] = l.cwd
	}
	if o.ProjectDir != "" {
		l.dir, l.explicit = l.abs(o.ProjectDir), true
	}
	for _, f := range o.Files {
		l.files = append(l.files, l.abs(f))
	}
	given := o.EnvFiles
	if len(given) == 0 {
		given = splitList(l.env[envEnvFiles], ",")
	}
	if len(given) > 0 {
		if err := l.loadGivenEnv(given); err != nil {
			return nil, err
		}
	} else if err := l.loadDefaultEnv(); err != nil {
		return nil, err
	}
	if err := l.findFiles(); err != nil {
		return nil, err
	}
	if len(given) == 0 {
		if err := l.loadDefaultEnv(); err != nil {
			return nil, err
		}
	}
	l.dir = l.projectDir()
	l.profiles = o.Profiles
	if len(l.profiles) == 0 {
		l.profiles = splitList(l.env[consts.ComposeProfiles], ",")
	}
	return l, nil
}

func (l *location) abs(path string) string {
	if path == "-" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(l.cwd, path)
}

// projectDir is the given directory, else that of the first real file, else the cwd.
func (l *location) projectDir() string {
	if l.dir != "" {
		return l.dir
	}
	for _, f := range l.files {
		if f != "-" {
			return filepath.Dir(f)
		}
	}
	return l.cwd
}

// loadGivenEnv reads the files that the user named.
func (l *location) loadGivenEnv(files []string) error {
	var paths []string
	for _, f := range files {
		path := l.abs(f)
		if _, err := os.Stat(path); err != nil {
			return &Error{File: path, What: "cannot read this environment file: " + reason(err), Fix: "correct --env-file or COMPOSE_ENV_FILES", err: err}
		}
		paths = append(paths, path)
	}
	l.envFiles = paths
	return l.mergeEnv(paths)
}

// loadDefaultEnv reads .env, if there is one.
func (l *location) loadDefaultEnv() error {
	if v := l.env[consts.ComposeDisableDefaultEnvFile]; v != "" {
		off, err := strconv.ParseBool(v)
		if err != nil {
			return &Error{What: fmt.Sprintf("%s is %q", consts.ComposeDisableDefaultEnvFile, v), Fix: "set it to true or false", err: err}
		}
		if off {
			return nil
		}
	}
	path := filepath.Join(l.projectDir(), ".env")
	l.envFiles = append(l.envFiles, path)
	info, err := os.Stat(path)
	switch {
	case err != nil && os.IsPermission(err):
		note := fmt.Sprintf("%s cannot be read and is ignored: %s", path, reason(err))
		if !slices.Contains(l.notes, note) {
			l.notes = append(l.notes, note)
		}
		return nil
	case err != nil || info.IsDir():
		return nil
	}
	return l.mergeEnv([]string{path})
}

func (l *location) mergeEnv(files []string) error {
	for _, f := range files {
		if err := checkSize(f); err != nil {
			return err
		}
	}
	vars, err := dotenv.GetEnvFromFile(l.env, files)
	if err != nil {
		return envFileError(files, err)
	}
	l.env.Merge(vars)
	return nil
}

// findFiles fills files from COMPOSE_FILE or by searching upwards.
func (l *location) findFiles() error {
	if len(l.files) > 0 {
		return nil
	}
	if list, ok := l.env[consts.ComposeFilePath]; ok && list != "" {
		sep := l.env[consts.ComposePathSeparator]
		if sep == "" {
			sep = string(os.PathListSeparator)
		}
		for _, f := range splitList(list, sep) {
			l.files = append(l.files, l.abs(f))
		}
		return nil
	}
	from := l.projectDir()
	for dir := from; ; dir = filepath.Dir(dir) {
		if found := existing(dir, DefaultFiles); len(found) > 0 {
			l.use(found)
			if over := existing(dir, DefaultOverrides); len(over) > 0 {
				l.use(over)
			}
			return nil
		}
		if dir == filepath.Dir(dir) {
			return &Error{
				What: "no compose file in " + from + " or above it",
				Fix:  "create compose.yaml, or name the file with -f",
				err:  fs.ErrNotExist,
			}
		}
	}
}

func (l *location) use(found []string) {
	l.files = append(l.files, found[0])
	if len(found) > 1 {
		l.notes = append(l.notes, fmt.Sprintf("several compose files in %s, using %s", filepath.Dir(found[0]), filepath.Base(found[0])))
	}
}

func existing(dir string, names []string) []string {
	var found []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			found = append(found, path)
		}
	}
	return found
}

func splitList(list, sep string) []string {
	var out []string
	for s := range strings.SplitSeq(list, sep) {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}
