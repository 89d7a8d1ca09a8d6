package scheduler

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
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
	return Paths{Root: abs, Run: filepath.Join(abs, "run")}, nil
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

func (p Paths) containers() string         { return filepath.Join(p.Root, "containers") }
func (p Paths) container(id string) string { return filepath.Join(p.containers(), id) }
func (p Paths) images() string             { return filepath.Join(p.Root, "images") }
func (p Paths) builder() string            { return filepath.Join(p.Root, "builder") }
func (p Paths) volumes() string            { return filepath.Join(p.Root, "volumes") }
func (p Paths) projects() string           { return filepath.Join(p.Root, "projects") }
func (p Paths) project(name string) string { return filepath.Join(p.projects(), name+".json") }
func (p Paths) bootID() string             { return filepath.Join(p.Root, "boot-id") }
func (p Paths) trash() string              { return filepath.Join(p.Root, "trash") }
func (p Paths) runtime() string            { return filepath.Join(p.Run, "containers") }
func (p Paths) rootfs() string             { return filepath.Join(p.Run, "rootfs") }
func (p Paths) files() string              { return filepath.Join(p.Run, "files") }

// create makes the folders. Only root may look into them: container layers hold set-user-id programs (CVE-2021-41091).
func (p Paths) create() error {
	for _, d := range []string{p.Root, p.Run, p.containers(), p.images(), p.builder(), p.volumes(), p.projects(), p.trash(), p.runtime(), p.rootfs(), p.files()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	return nil
}
