package boltcheck

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// database makes one with some hundred keys in buckets within buckets.
func database(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for i := range 20 {
			b, err := tx.CreateBucketIfNotExists(fmt.Appendf(nil, "b%d", i))
			if err != nil {
				return err
			}
			for j := range 50 {
				inner, err := b.CreateBucketIfNotExists(fmt.Appendf(nil, "inner%d", j%7))
				if err != nil {
					return err
				}
				if err := inner.Put(fmt.Appendf(nil, "key%d", j), make([]byte, 40*j+3)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		damage  func(path string) error
		damaged bool
	}{
		{"whole", func(string) error { return nil }, false},
		{"missing", os.Remove, false},
		{"empty", func(p string) error { return os.Truncate(p, 0) }, false},
		{"a byte", func(p string) error { return os.Truncate(p, 1) }, true},
		{"half", func(p string) error { return os.Truncate(p, 64<<10) }, true},
		{"text", func(p string) error { return os.WriteFile(p, make([]byte, 1<<20), 0o600) }, true},
		{"zeroes within", func(p string) error {
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt(make([]byte, 200<<10), 16<<10)
			return errors.Join(err, f.Close())
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := database(t)
			if err := c.damage(path); err != nil {
				t.Fatal(err)
			}
			if err := Check(path, time.Minute); errors.Is(err, ErrDamaged) != c.damaged || !c.damaged && err != nil {
				t.Errorf("Check: %v, damaged should be %v", err, c.damaged)
			}
		})
	}
}

func TestCheckLocked(t *testing.T) {
	t.Parallel()
	path := database(t)
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := Check(path, time.Millisecond); !errors.Is(err, bolterrors.ErrTimeout) {
		t.Errorf("a database that is held: %v", err)
	}
}

// Whatever stands in the file: the process lives.
func TestCheckSurvivesGarbage(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	whole, err := os.ReadFile(database(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.db")
	for range 300 {
		data := append([]byte(nil), whole...)
		for range 1 + random.IntN(20) {
			at := 8192 + random.IntN(len(data)-8192)
			data[at] = byte(random.Uint32())
			if random.IntN(2) == 0 {
				at = at / 4096 * 4096 // the header of a page
				for i := range 16 {
					data[at+i] = byte(random.Uint32())
				}
			}
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = Check(path, time.Minute) // many a byte is only a key's
	}
}
