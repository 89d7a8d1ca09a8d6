package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"syscall"
	"time"

	"tutti/scheduler/api"
)

const (
	replacePoll = 2 * time.Millisecond // until the next engine answers
	replaceTime = 5 * time.Second
)

// buildID tells one program file from another, also of the same version: an installation replaces the file, or lies
// elsewhere.
func buildID(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s %x-%x-%x-%x", version, sys.Dev, sys.Ino, sys.Size, st.ModTime().UnixNano())
}

// replaceEngine makes an engine from another program, which was installed over or is another installation, give way to
// one from this program. Containers go on. An engine that is busy with somebody else's request serves this command too.
func (a *app) replaceEngine(ctx context.Context, c *api.Client, build string) error {
	self, err := os.Executable()
	if err != nil {
		return nil //nolint:nilerr // deleted meanwhile
	}
	own := buildID(self)
	if build == "" || own == "" || own == build || os.Geteuid() != 0 {
		return nil
	}
	err = c.Replace(ctx, self)
	var refused *api.StatusError
	switch {
	case errors.As(err, &refused) && (refused.Code == http.StatusConflict || refused.Code == http.StatusNotImplemented):
		return nil // it goes on with the other engine
	case errors.As(err, &refused):
		return fmt.Errorf("replace the engine of another version (%s): %w", build, err)
	}
	// An answer that was cut off says the same as one that came.
	ctx, cancel := context.WithTimeout(ctx, replaceTime)
	defer cancel()
	for {
		now, err := c.EngineBuild(ctx)
		switch {
		case ctx.Err() != nil:
			return nil // the program could not be started, and the keeper took the old one again
		case err != nil:
			return err
		case now != build:
			return nil // ours, or that of somebody who was faster
		}
		select {
		case <-ctx.Done():
		case <-time.After(replacePoll):
		}
	}
}
