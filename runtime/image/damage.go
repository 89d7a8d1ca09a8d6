package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tutti/runtime/boltcheck"
)

// checkBolt returns ErrDamaged for a database file that bbolt cannot use.
func checkBolt(path string) error {
	err := boltcheck.Check(path, lockTimeout)
	if errors.Is(err, boltcheck.ErrDamaged) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// Databases are the files of the store in root that it cannot do without.
func Databases(root string) []string {
	return []string{filepath.Join(root, "meta.db"), filepath.Join(root, "metadata.db")}
}

// checkTogether returns ErrDamaged when one of the databases has become empty while there are layers: they know them only
// together.
func checkTogether(root string) error {
	layers, err := os.ReadDir(filepath.Join(root, "snapshots"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(layers) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	for _, path := range Databases(root) {
		st, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0 {
			return fmt.Errorf("%w: %s is empty, and there are layers", ErrDamaged, path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
