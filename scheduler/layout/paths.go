// Package layout says where an engine keeps what.
package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tutti/runtime/image"
	"tutti/runtime/statefile"
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

// New returns the folders for a state root; "" is the default root.
func New(root string) (Paths, error) {
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
func (p Paths) TempDir() string { return image.TempDir(p.Images()) }

// Config is what the administrator decides, in the words of docker's daemon.json: default-address-pools.
func (p Paths) Config() string { return filepath.Join(p.Root, "config.json") }

// Containers has a folder for each container.
func (p Paths) Containers() string { return filepath.Join(p.Root, "containers") }

// Container is the folder of a container: its record, its log and its layer.
func (p Paths) Container(id string) string { return filepath.Join(p.Containers(), id) }

// Images is the image store.
func (p Paths) Images() string { return filepath.Join(p.Root, "images") }

// Builder is the build cache.
func (p Paths) Builder() string { return filepath.Join(p.Root, "builder") }

// Volumes has a folder for each volume.
func (p Paths) Volumes() string { return filepath.Join(p.Root, "volumes") }

// Projects has the applied model of each project.
func (p Paths) Projects() string { return filepath.Join(p.Root, "projects") }

// Project is the applied model of a project.
func (p Paths) Project(name string) string { return filepath.Join(p.Projects(), name+".json") }

// Histories has what was done to each project.
func (p Paths) Histories() string { return filepath.Join(p.Root, "histories") }

// History is where what was done to a project is remembered.
func (p Paths) History(name string) string { return filepath.Join(p.Histories(), name+".json") }

// Events is the journal of events.
func (p Paths) Events() string { return filepath.Join(p.Root, "events.jsonl") }

// BootID tells of which boot of the host the state is.
func (p Paths) BootID() string { return filepath.Join(p.Root, "boot-id") }

// Trash is what is to be removed in the background.
func (p Paths) Trash() string { return filepath.Join(p.Root, "trash") }

// Runtime is the runtime's own folder.
func (p Paths) Runtime() string { return filepath.Join(p.Run, "containers") }

// Skeleton is the layer below every image.
func (p Paths) Skeleton() string { return filepath.Join(p.Root, "skeleton") }

// Empty is a folder with nothing in it.
func (p Paths) Empty() string { return filepath.Join(p.Root, "empty") }

// Rootfs is where root file systems are mounted that are looked into.
func (p Paths) Rootfs() string { return filepath.Join(p.Run, "rootfs") }

// Files has the files that are bound into containers.
func (p Paths) Files() string { return filepath.Join(p.Run, "files") }

// NetworkConfigs is the folder of the networks that are only a configuration.
func (p Paths) NetworkConfigs() string { return filepath.Join(p.Root, "network-configs") }

// Create makes the folders. Only root may look into them: container layers hold set-user-id programs (CVE-2021-41091).
func (p Paths) Create() error {
	for _, d := range []string{p.Root, p.Run, p.Containers(), p.Images(), p.TempDir(), p.Builder(), p.Volumes(), p.Projects(), p.Histories(), p.Trash(), p.Empty(), p.Runtime(), p.Rootfs(), p.Files()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	return p.createSkeleton()
}

// The files that every container gets bound into /etc.
const (
	HostsFile    = "hosts"
	HostnameFile = "hostname"
	ResolvFile   = "resolv.conf"
)

// createSkeleton makes the layer below every image: what init mounts on is there already, so that a container's own layer
// stays empty until the container writes.
func (p Paths) createSkeleton() error {
	for _, d := range []string{"", "dev", "etc", "proc", "sys"} {
		if err := os.MkdirAll(filepath.Join(p.Skeleton(), d), 0o755); err != nil { //nolint:gosec // it is the container's own
			return err
		}
	}
	for _, name := range []string{HostsFile, HostnameFile, ResolvFile} {
		f, err := os.OpenFile(filepath.Join(p.Skeleton(), "etc", name), os.O_CREATE, 0o644) //nolint:gosec // see above
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// stateFormat counts the changes after which older engines misunderstand what lies in the state folder.
const stateFormat = 1

// CheckFormat refuses a state folder that a newer tutti has written, and marks a new one.
func (p Paths) CheckFormat() error {
	path := filepath.Join(p.Root, "format.json")
	var f struct {
		Format int `json:"format"`
	}
	err := statefile.Read(path, &f)
	if err == nil && f.Format > stateFormat {
		return fmt.Errorf("a newer tutti has written %s (format %d, this one knows %d): use that one, or another --root", p.Root, f.Format, stateFormat)
	}
	if err == nil && f.Format == stateFormat {
		return nil
	}
	var system *fs.PathError
	if errors.As(err, &system) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.Format = stateFormat // of before there were formats, or damaged: nothing has changed since the first
	return statefile.WriteSync(path, f)
}
