// Package boltcheck tells whether a bbolt database can be read whole before a process entrusts itself to it: bbolt maps the
// file into memory, and what is wrong with it ends the process at some later moment.
package boltcheck

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrDamaged is the error of a file that is not a database that was written whole.
var ErrDamaged = errors.New("database is damaged")

// maxDepth bounds how deep buckets may lie in one another.
const maxDepth = 32

// Check reads everything in the database at path. A file that does not exist, or is empty, is a new database. The error is
// ErrDamaged for one that bbolt cannot use; bolterrors.ErrTimeout for one that another process holds for longer than
// timeout; or what the system says.
func Check(path string, timeout time.Duration) (err error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Size() < int64(2*os.Getpagesize()) {
		return fmt.Errorf("%w: %s has %d bytes only", ErrDamaged, path, st.Size())
	}
	// A page that is not there, or points anywhere, is a fault of memory.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil { // bbolt's answer to what it does not expect
			err = fmt.Errorf("%w: %s: %v", ErrDamaged, path, p)
		}
	}()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: timeout, ReadOnly: true})
	var system *fs.PathError
	switch {
	case err == nil:
	case errors.Is(err, bolterrors.ErrTimeout), errors.As(err, &system):
		return err
	default:
		return fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	defer db.Close()
	tx, err := db.Begin(false)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	defer tx.Rollback() //nolint:errcheck // it reads only
	if tx.Size() > st.Size() {
		return fmt.Errorf("%w: %s has %d bytes of %d", ErrDamaged, path, st.Size(), tx.Size())
	}
	err = tx.ForEach(func(_ []byte, b *bolt.Bucket) error { return walk(b, 0) })
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	return nil
}

// walk touches every key and value below a bucket.
func walk(b *bolt.Bucket, depth int) error {
	if depth == maxDepth {
		return errors.New("buckets lie too deep in one another")
	}
	var sum byte
	err := b.ForEach(func(k, v []byte) error {
		if v == nil {
			inner := b.Bucket(k)
			if inner == nil {
				return fmt.Errorf("bucket %q cannot be opened", k)
			}
			return walk(inner, depth+1)
		}
		for _, page := range [][]byte{k, v} {
			for i := 0; i < len(page); i += 4096 {
				sum ^= page[i]
			}
			if len(page) > 0 {
				sum ^= page[len(page)-1]
			}
		}
		return nil
	})
	_ = sum
	return err
}
