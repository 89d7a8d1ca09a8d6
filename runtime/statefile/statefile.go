// Package statefile writes and reads small JSON state files so that a reader
// never sees half a file: the content goes to a temporary file in the same
// folder, which is then renamed over the target (rename(2) is atomic).
package statefile

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Write stores v as JSON at path. The folder must exist. It survives a killed
// process but, without fsync, not a power cut: for state that a reboot makes void.
func Write(path string, v any) error {
	return write(path, v, false)
}

// WriteSync is Write followed by fsync of the file and of its folder, for state
// that must survive a power cut.
func WriteSync(path string, v any) error {
	return write(path, v, true)
}

// Read loads the JSON at path into v. A missing file is an error for which
// errors.Is(err, fs.ErrNotExist) holds.
func Read(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read state %s: %w", path, err)
	}
	return nil
}

func write(path string, v any, sync bool) (err error) {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write state %s: %w", path, err)
	}
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	tmp, err := os.CreateTemp(dir, "."+name+".*") // CreateTemp makes it 0600
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	if err := fill(tmp, data, sync); err != nil {
		return fmt.Errorf("write state %s: %w", path, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if sync {
		return syncDir(dir)
	}
	return nil
}

func fill(f *os.File, data []byte, sync bool) error {
	_, err := f.Write(data)
	if err == nil && sync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync state folder: %w", err)
	}
	defer d.Close() //nolint:errcheck // opened for reading only
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync state folder %s: %w", dir, err)
	}
	return nil
}
