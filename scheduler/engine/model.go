package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/compose-spec/compose-go/v2/loader"

	"tutti/project"
	"tutti/runtime/statefile"
)

// AppliedModel is the model of the project's last `up`, or nil when there is none.
func (e *Engine) AppliedModel(name string) (*project.Project, error) {
	if err := CheckProjectName(name); err != nil {
		return nil, err
	}
	var raw json.RawMessage
	err := statefile.Read(e.Paths.Project(name), &raw)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no model is an answer
	}
	var model *project.Project
	if err == nil {
		model, err = project.Decode(raw)
	}
	if err != nil { // as if it had never been applied: what there is carries its labels, and the next up writes it anew
		e.Log.Error("the applied model of a project is damaged", "project", name, "error", err)
		return nil, nil //nolint:nilnil // no model is an answer
	}
	return model, nil
}

// CheckProjectName refuses what cannot be a project's name, and so not a file's.
func CheckProjectName(name string) error {
	if name == "" || loader.NormalizeProjectName(name) != name {
		return fmt.Errorf("%q is no project name: use lower-case letters, digits, dashes and underscores, beginning with a letter or digit", name)
	}
	return nil
}

// SaveModel remembers the model that is being applied: order and conditions outlive the engine and the host's boot.
func (e *Engine) SaveModel(project string, raw json.RawMessage) error {
	defer e.edges.forget(project)
	return statefile.WriteSync(e.Paths.Project(project), raw)
}

// DropModel forgets the model of a project that is taken away.
func (e *Engine) DropModel(project string) error {
	defer e.edges.forget(project)
	if err := os.Remove(e.Paths.Project(project)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// LockProject waits for the project's turn, or until ctx is done: one verb at a time changes it.
func (e *Engine) LockProject(ctx context.Context, project string) (unlock func(), err error) {
	return e.projectLocks.lock(ctx, project)
}

// ExpectNames keeps the names of containers resolvable that are about to be started anew, until done.
func (e *Engine) ExpectNames(containers []string) (done func()) { return e.names.Expect(containers) }
