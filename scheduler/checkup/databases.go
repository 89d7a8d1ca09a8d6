package checkup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"tutti/runtime/boltcheck"
)

// lockTimeout bounds the wait for a database that another process holds.
const lockTimeout = 3 * time.Second

// DamagedSuffix is added to the folder of an image store that was set aside.
const DamagedSuffix = ".damaged"

// Databases is the area of the image store's databases, without which an engine cannot work. dir is the store's folder. No
// engine may run.
func Databases(dir string, files []string) Area {
	return Area{Name: "databases", Look: func(context.Context) ([]Fault, int, error) {
		for i, path := range files {
			err := boltcheck.Check(path, lockTimeout)
			if err == nil {
				continue
			}
			if !errors.Is(err, boltcheck.ErrDamaged) {
				return nil, i, fmt.Errorf("look at %s: %w", path, err)
			}
			return []Fault{{ // they are repaired together
				Object: path, Problem: err.Error(), Remedy: fmt.Sprintf("set %s aside as %s and begin a new image store", dir, dir+DamagedSuffix),
				Hint:   "pull, load or build images again; `tutti system check` says which containers need which",
				Repair: func(context.Context) error { return SetAside(dir) },
			}}, len(files), nil
		}
		return nil, len(files), nil
	}}
}

// SetAside renames a damaged image store, in the place of one that was set aside before.
func SetAside(dir string) error {
	aside := dir + DamagedSuffix
	if err := os.RemoveAll(aside); err != nil {
		return fmt.Errorf("remove the image store that was set aside before: %w", err)
	}
	if err := os.Rename(dir, aside); err != nil {
		return fmt.Errorf("set the damaged image store aside: %w", err)
	}
	return nil
}
