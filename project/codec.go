package project

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/compose-spec/compose-go/v2/types"
)

// wire is the form in which a project goes to the engine and is kept there.
type wire struct {
	// Format changes with every change that old readers would misunderstand.
	Format    int             `json:"format"`
	Project   json.RawMessage `json:"project"`
	Warnings  []string        `json:"warnings,omitempty"`
	Positions []wirePosition  `json:"positions,omitempty"`
}

type wirePosition struct {
	Path  string `json:"p"`
	File  string `json:"f"`
	Line  int    `json:"l"`
	Depth int    `json:"d"`
}

const wireFormat = 1

// Encode is the lossless form of a project for the engine: Decode gives back an equal
// one. The library's own YAML and JSON lose x- keys, the contents of secrets and more,
// so that the Go values themselves are written, by the names of their fields.
//
// The environment is left out: all that the model takes from it is in the model, and
// the user's variables are none of the engine's business. The bytes contain the contents of secrets.
func (p *Project) Encode() ([]byte, error) {
	model := *p.Project
	model.Environment = nil
	project, err := encodeValue(&model)
	if err != nil {
		return nil, fmt.Errorf("encode project %s: %w", p.Name, err)
	}
	w := wire{Format: wireFormat, Project: project, Warnings: p.warnings, Positions: p.positions.shallow()}
	b, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encode project %s: %w", p.Name, err)
	}
	return b, nil
}

// Decode reads what Encode wrote.
func Decode(b []byte) (*Project, error) {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, fmt.Errorf("decode project: %w", err)
	}
	if w.Format != wireFormat {
		return nil, fmt.Errorf("decode project: unknown format %d", w.Format)
	}
	p := &Project{Project: &types.Project{}, warnings: w.Warnings, positions: positions{}}
	decoder := json.NewDecoder(bytes.NewReader(w.Project))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("decode project: %w", err)
	}
	if err := decodeValue(tree, p.Project); err != nil {
		return nil, fmt.Errorf("decode project: %w", err)
	}
	for _, at := range w.Positions {
		p.positions[at.Path] = position{file: at.File, line: at.Line, depth: at.Depth}
	}
	return p, nil
}
