package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// checkBolt returns ErrDamaged for a database file that bbolt cannot use: without a valid page of meta data, or shorter
// than that says, in which case bbolt would read beyond the end of its mapping and the process die. A file that does not
// exist, or is empty, is a new database.
func checkBolt(path string) (err error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil { // bbolt's answer to what it does not expect
			err = fmt.Errorf("%w: %s: %v", ErrDamaged, path, p)
		}
	}()
	if st.Size() < int64(2*os.Getpagesize()) {
		return fmt.Errorf("%w: %s has %d bytes only", ErrDamaged, path, st.Size())
	}
	o := boltOptions()
	o.ReadOnly = true
	db, err := bolt.Open(path, 0o600, o)
	var system *fs.PathError
	switch {
	case err == nil:
	case errors.Is(err, bolterrors.ErrTimeout), errors.As(err, &system):
		return err
	default:
		return fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		if tx.Size() > st.Size() {
			return fmt.Errorf("%w: %s has %d bytes of %d", ErrDamaged, path, st.Size(), tx.Size())
		}
		return nil
	})
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
	for _, name := range []string{"meta.db", "metadata.db"} {
		path := filepath.Join(root, name)
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
