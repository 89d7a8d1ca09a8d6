package volumes

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// File is a config or a secret: a file that is mounted read-only into a container.
type File struct {
	Name   string // for messages: `secret "token"`
	Target string // absolute path in the container, see SecretTarget and ConfigTarget
	// Source is the host's file (or folder). It is mounted itself, so that changes are
	// seen, unless Mode, UID or GID ask for something of their own: then it is copied.
	Source  string
	Content []byte  // when there is no Source
	Mode    *uint32 // permission bits; nil: 0444
	UID     *int    // nil: 0
	GID     *int    // nil: 0
}

// SecretTarget is where a secret goes: target if that is absolute, otherwise below
// /run/secrets, under the secret's own name if target is empty.
func SecretTarget(name, target string) string { return defaultTarget("/run/secrets", name, target) }

// ConfigTarget is where a config goes: target if that is absolute, otherwise in the
// root folder, under the config's own name if target is empty.
func ConfigTarget(name, target string) string { return defaultTarget("/", name, target) }

func defaultTarget(dir, name, target string) string {
	if target == "" {
		target = name
	}
	if path.IsAbs(target) {
		return path.Clean(target)
	}
	return path.Join(dir, path.Clean("/"+target))
}

// Files writes configs and secrets into dir, which is made if need be and is for one
// container alone, and returns their mounts. dir is best on a tmpfs (the run
// folder), so that secrets never reach a disk.
func Files(dir string, files []File) ([]specs.Mount, error) {
	list := make([]specs.Mount, 0, len(files))
	for i, f := range files {
		target, err := cleanTarget(f.Target)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		source, err := f.materialise(dir, strconv.Itoa(i))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		list = append(list, specs.Mount{Destination: target, Type: "bind", Source: source, Options: []string{"rbind", "ro", "rprivate"}})
	}
	return list, nil
}

// materialise returns the host's path of what is to be mounted.
func (f File) materialise(dir, name string) (string, error) {
	content := f.Content
	if f.Source != "" {
		source, err := filepath.EvalSymlinks(f.Source)
		if err != nil {
			return "", fmt.Errorf("read its file: %w", err)
		}
		if f.Mode == nil && f.UID == nil && f.GID == nil {
			return source, nil
		}
		if content, err = os.ReadFile(source); err != nil {
			return "", fmt.Errorf("read its file: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, name), f.write(dir, name, content)
}

// write puts the file in place whole: an older one may be mounted in a container that is ending.
func (f File) write(dir, name string, content []byte) error {
	draft, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	mode := os.FileMode(0o444)
	if f.Mode != nil {
		mode = os.FileMode(*f.Mode & 0o777)
	}
	_, err = draft.Write(content)
	err = errors.Join(err, draft.Chown(valueOr0(f.UID), valueOr0(f.GID)), draft.Chmod(mode), draft.Close())
	if err == nil {
		err = os.Rename(draft.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		_ = os.Remove(draft.Name())
	}
	return err
}

func valueOr0(id *int) int {
	if id == nil {
		return 0
	}
	return *id
}
