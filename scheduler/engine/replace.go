package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"tutti/runtime/statefile"
)

// flushTime bounds the answer to who asked for the replacement.
const flushTime = time.Second

// Replace makes way for an engine from the program at an absolute path: this one ends as soon as it has answered, and the
// keeper starts the other. Containers go on. While other requests are served it is ErrConflict.
func (e *Engine) Replace(program string) error {
	st, err := os.Stat(program)
	switch {
	case err != nil:
		return fmt.Errorf("replace the engine: %w", err)
	case !filepath.IsAbs(program) || !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("replace the engine: %s is no program", program)
	case e.serving.Load() > 1:
		return fmt.Errorf("%w: the engine is busy with other requests", ErrConflict)
	}
	if err := e.keeper.SetProgram(program); err != nil {
		return fmt.Errorf("replace the engine: %w", err)
	}
	e.replaceOnce.Do(func() { close(e.replaced) })
	return nil
}

// makeWay ends this process. What goes on here is what a kill interrupts too.
func (e *Engine) makeWay(ctx context.Context, srv *http.Server) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	_ = srv.Shutdown(ctx) // the answer may be cut off: who asked looks for the next engine anyway
	e.Log.Info("another program is to be the engine")
	os.Exit(exitBequeathed)
}

// stateFormat counts the changes after which older engines misunderstand what lies in the state folder.
const stateFormat = 1

// checkFormat refuses a state folder that a newer tutti has written, and marks a new one.
func (p Paths) checkFormat() error {
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
