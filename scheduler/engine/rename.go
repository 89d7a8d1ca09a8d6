package engine

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"tutti/scheduler/container"
)

// containerNames are what docker takes for the name of a container.
var containerNames = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`) })

// RenameContainer gives a container another name, while it runs too. The record is written before anybody sees the name, so
// that an engine which dies in between leaves it with the old one or the new one; what others resolve is made of the record.
func (e *Engine) RenameContainer(ctx context.Context, name, to string) error {
	to = strings.TrimPrefix(to, "/")
	if name == "" || to == "" {
		return fmt.Errorf("%w: neither old nor new names may be empty", ErrInvalid)
	}
	if !containerNames().MatchString(to) {
		return fmt.Errorf("%w: invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", ErrInvalid, to)
	}
	u, err := e.FindUnit(name)
	if err != nil {
		return err
	}
	u.op.Lock()
	defer u.op.Unlock()
	was := u.Name()
	switch {
	case u.isRemoved():
		return fmt.Errorf("%w container: %s", ErrNoSuch, name)
	case was == to:
		return fmt.Errorf("%w: renaming a container with the same name as its current name", ErrInvalid)
	}
	release, err := e.claimName(to)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	defer release()
	u.wiring.Lock()
	defer u.wiring.Unlock()
	if _, err := u.updateNow(func(s *container.State) { s.Name = to }); err != nil {
		return fmt.Errorf("rename container %s: %w", was, err)
	}
	u.renamed.Store(&to)
	if st := u.Snapshot(); u.Running() != nil && st.Alive() && u.Config.OwnNetwork() {
		e.names.Set(u.ID, e.nameEntry(u.Now(), st.Endpoints))
	}
	e.bus.send(change{kind: changeRenamed, unit: u, was: was})
	return nil
}
