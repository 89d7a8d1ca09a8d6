package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"

	"tutti/runtime/image"
)

// DefaultRoot is where the state lies when nobody says otherwise; its run folder is DefaultRun.
const (
	DefaultRoot = "/var/lib/tutti"
	DefaultRun  = "/run/tutti"
)

// Paths are the folders of one engine.
type Paths struct {
	Root string // survives a reboot
	Run  string // does not need to
}

// NewPaths returns the folders for a state root; "" is the default root.
func NewPaths(root string) (Paths, error) {
	if root == "" || filepath.Clean(root) == DefaultRoot {
		return Paths{Root: DefaultRoot, Run: DefaultRun}, nil
	}
	abs, err := filepath.Abs(root)
	if err != nil {
		return Paths{}, err
	}
	p := Paths{Root: abs}
	// Not below the root: /run is a tmpfs and gone after a reboot, and a socket's path may have 108 bytes only.
	p.Run = DefaultRun + "-" + p.Instance()
	return p, nil
}

// Socket is where the engine listens.
func (p Paths) Socket() string { return filepath.Join(p.Run, "tutti.sock") }

// EngineLog is where the engine writes what it has to say to its administrator.
func (p Paths) EngineLog() string { return filepath.Join(p.Root, "engine.log") }

// Instance is four hex digits that tell this engine's kernel objects from those of engines with other roots.
func (p Paths) Instance() string {
	sum := sha256.Sum256([]byte(p.Root))
	return hex.EncodeToString(sum[:2])
}

// UnitName is what systemd's units of this engine are called, without their suffixes.
func (p Paths) UnitName() string {
	if p.Root == DefaultRoot {
		return "tutti"
	}
	return "tutti-" + p.Instance()
}

// TempDir is where the engine's libraries put and mount what is temporary: its TMPDIR.
func (p Paths) TempDir() string { return image.TempDir(p.images()) }

// config is what the administrator decides, in the words of docker's daemon.json: default-address-pools.
func (p Paths) config() string { return filepath.Join(p.Root, "config.json") }

func (p Paths) containers() string         { return filepath.Join(p.Root, "containers") }
func (p Paths) container(id string) string { return filepath.Join(p.containers(), id) }
func (p Paths) images() string             { return filepath.Join(p.Root, "images") }
func (p Paths) builder() string            { return filepath.Join(p.Root, "builder") }
func (p Paths) volumes() string            { return filepath.Join(p.Root, "volumes") }
func (p Paths) projects() string           { return filepath.Join(p.Root, "projects") }
func (p Paths) project(name string) string { return filepath.Join(p.projects(), name+".json") }
func (p Paths) histories() string          { return filepath.Join(p.Root, "histories") }

// History is where what was done to a project is remembered.
func (p Paths) History(name string) string { return filepath.Join(p.histories(), name+".json") }
func (p Paths) events() string             { return filepath.Join(p.Root, "events.jsonl") }
func (p Paths) bootID() string             { return filepath.Join(p.Root, "boot-id") }
func (p Paths) trash() string              { return filepath.Join(p.Root, "trash") }
func (p Paths) runtime() string            { return filepath.Join(p.Run, "containers") }
func (p Paths) skeleton() string           { return filepath.Join(p.Root, "skeleton") }
func (p Paths) empty() string              { return filepath.Join(p.Root, "empty") }
func (p Paths) rootfs() string             { return filepath.Join(p.Run, "rootfs") }
func (p Paths) files() string              { return filepath.Join(p.Run, "files") }

// create makes the folders. Only root may look into them: container layers hold set-user-id programs (CVE-2021-41091).
func (p Paths) create() error {
	for _, d := range []string{p.Root, p.Run, p.containers(), p.images(), p.TempDir(), p.builder(), p.volumes(), p.projects(), p.histories(), p.trash(), p.empty(), p.runtime(), p.rootfs(), p.files()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	return p.createSkeleton()
}

// createSkeleton makes the layer below every image: what init mounts on is there already, so that a container's own layer
// stays empty until the container writes.
func (p Paths) createSkeleton() error {
	for _, d := range []string{"", "dev", "etc", "proc", "sys"} {
		if err := os.MkdirAll(filepath.Join(p.skeleton(), d), 0o755); err != nil { //nolint:gosec // it is the container's own
			return err
		}
	}
	for _, name := range []string{hostsFile, hostnameFile, resolvFile} {
		f, err := os.OpenFile(filepath.Join(p.skeleton(), "etc", name), os.O_CREATE, 0o644) //nolint:gosec // see above
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
