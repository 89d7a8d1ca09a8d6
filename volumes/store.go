// Package volumes keeps named volumes and turns what a container wants mounted
// into the mounts of an OCI runtime spec.
//
// A volume is a directory <dir>/<name> with the data in _data and what it was made
// from in volume.json. Directories appear and vanish by rename, so that a crash at
// any moment leaves either all of a volume or none of it; what was half made or
// half removed has a name with a leading dot and goes with the next [Open].
//
// Nothing is ever mounted in the host's mount table: volumes with driver options
// become mounts that the container's init makes inside its own namespace.
package volumes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

var (
	// ErrNotFound is returned for volumes that do not exist.
	ErrNotFound = errors.New("volume does not exist")
	// ErrConflict is returned for volumes that exist with other driver options than wanted.
	ErrConflict = errors.New("volume exists with other options")
	// ErrInvalid is returned for names, drivers and options that cannot be used.
	ErrInvalid = errors.New("invalid volume")
)

const (
	dataDir  = "_data"
	metaFile = "volume.json"
	newGlob  = ".new-*" // a volume in the making
	delGlob  = ".del-*" // a volume on its way out
	// DriverLocal is the only driver.
	DriverLocal = "local"
)

// Spec is what a volume is made from.
type Spec struct {
	Name       string            `json:"name"`
	Driver     string            `json:"driver"` // empty: local
	DriverOpts map[string]string `json:"driver_opts,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// Volume is a named volume.
type Volume struct {
	Spec
	CreatedAt time.Time `json:"created_at"`
	Path      string    `json:"-"` // the directory with the data, on the host
	Damaged   bool      `json:"-"` // what it was made from is not known any more; the data is there
}

// Store is the directory of all volumes of an engine. Safe for concurrent use.
type Store struct {
	dir string
	mu  sync.Mutex // creating and removing
}

// Open opens the store in dir, which is made if need be, removes what a crash
// left half done, and finishes first copies that were complete but not yet in place.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of volumes: %w", err)
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder of volumes: %w", err)
	}
	s := &Store{dir: dir}
	for _, glob := range []string{newGlob, delGlob} {
		left, _ := filepath.Glob(filepath.Join(dir, glob)) // the only error is a malformed pattern
		for _, path := range left {
			if err := os.RemoveAll(path); err != nil {
				return nil, fmt.Errorf("remove half a volume: %w", err)
			}
		}
	}
	if err := s.finishCopies(); err != nil {
		return nil, err
	}
	return s, nil
}

// validName is docker's rule; a leading dot is ours alone.
var validName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`) })

func checkName(name string) error {
	if len(name) > 255 || !validName().MatchString(name) {
		return fmt.Errorf("%w: name %q: use two or more letters, digits, '_', '.' or '-', the first a letter or digit; "+
			"a folder of the host is given as an absolute path", ErrInvalid, name)
	}
	return nil
}

func (s *Store) path(name string, more ...string) string {
	return filepath.Join(append([]string{s.dir, name}, more...)...)
}

// Create makes a volume, or returns the one that exists under the name already. One
// with other driver options is returned together with [ErrConflict]: its data is not touched.
func (s *Store) Create(spec Spec) (v Volume, created bool, err error) {
	if spec.Driver == "" {
		spec.Driver = DriverLocal
	}
	if err := checkSpec(spec); err != nil {
		return Volume{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err = s.Get(spec.Name)
	switch {
	case err == nil && v.Damaged:
		v = Volume{Spec: spec, CreatedAt: v.CreatedAt, Path: v.Path}
		return v, false, s.mend(v)
	case err == nil && !maps.Equal(v.DriverOpts, spec.DriverOpts):
		return v, false, fmt.Errorf("%w: volume %q has driver_opts %v, wanted are %v: remove the volume, or use another name",
			ErrConflict, spec.Name, v.DriverOpts, spec.DriverOpts)
	case err == nil:
		return v, false, nil
	case !errors.Is(err, ErrNotFound):
		return Volume{}, false, err
	}
	v = Volume{Spec: spec, CreatedAt: time.Now().UTC(), Path: s.path(spec.Name, dataDir)}
	if err := s.make(v); err != nil {
		return Volume{}, false, fmt.Errorf("create volume %q: %w", spec.Name, err)
	}
	return v, true, nil
}

func (s *Store) make(v Volume) error {
	draft, err := os.MkdirTemp(s.dir, newGlob)
	if err != nil {
		return err
	}
	defer os.RemoveAll(draft) //nolint:errcheck // gone by rename, or removed by the next Open
	data := filepath.Join(draft, dataDir)
	if err := os.Mkdir(data, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(data, 0o755); err != nil { // whatever the umask
		return err
	}
	if err := writeMeta(filepath.Join(draft, metaFile), v); err != nil {
		return err
	}
	return os.Rename(draft, s.path(v.Name))
}

// writeMeta writes through to the disk: a volume outlives the machine's power.
func writeMeta(path string, v Volume) error {
	content, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(content, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// Get returns a volume, or [ErrNotFound].
func (s *Store) Get(name string) (Volume, error) {
	if err := checkName(name); err != nil {
		return Volume{}, err
	}
	content, err := os.ReadFile(s.path(name, metaFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Volume{}, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	if err != nil {
		return Volume{}, fmt.Errorf("read volume %q: %w", name, err)
	}
	v := Volume{}
	if err := json.Unmarshal(content, &v); err != nil { // the data counts: it is a volume still
		slog.Warn("what a volume was made from is not known any more", "volume", name, "file", s.path(name, metaFile), "error", err)
		v = Volume{Damaged: true}
		v.Driver = DriverLocal
		if st, err := os.Stat(s.path(name, dataDir)); err == nil {
			v.CreatedAt = st.ModTime().UTC()
		}
	}
	v.Name, v.Path = name, s.path(name, dataDir)
	return v, nil
}

// mend writes down anew what a damaged volume is made from, as its user says.
func (s *Store) mend(v Volume) error {
	next := s.path(v.Name, "."+metaFile)
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if err := writeMeta(next, v); err != nil {
		return fmt.Errorf("mend volume %q: %w", v.Name, err)
	}
	return os.Rename(next, s.path(v.Name, metaFile))
}

// List returns all volumes by name.
func (s *Store) List() ([]Volume, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list the volumes: %w", err)
	}
	var list []Volume
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		v, err := s.Get(e.Name())
		if errors.Is(err, ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// Remove removes a volume with its data; [ErrNotFound] when there is none. That
// nothing uses it is for the caller to know. A folder of the host that the volume
// stands for (driver_opts o=bind) is left as it is.
func (s *Store) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := os.Lstat(s.path(name)); checkName(name) != nil || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	grave, err := os.MkdirTemp(s.dir, delGlob)
	if err == nil {
		err = os.Rename(s.path(name), filepath.Join(grave, name))
	}
	if err == nil {
		err = os.RemoveAll(grave)
	}
	if err != nil {
		return fmt.Errorf("remove volume %q: %w", name, err)
	}
	return nil
}
