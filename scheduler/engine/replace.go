package engine

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
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
