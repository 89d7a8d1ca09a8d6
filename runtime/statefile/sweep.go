package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// temporary is what the files are called that Write renames: ".NAME.NUMBER" with the number of os.CreateTemp.
var temporary = regexp.MustCompile(`^\..+\.[0-9]+$`)

// Sweep removes what writers that were killed have left of their temporary files in a folder. Nobody may write there
// meanwhile. A folder that is missing is no error.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep the state folder: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if e.Type().IsRegular() && temporary.MatchString(e.Name()) {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
