package project

import (
	"maps"
	"path/filepath"
	"slices"
)

// Files are those that the project was read from, or would be if they were there, absolute and sorted: compose files with what
// they include and extend, .env or what was named instead, env_file and label_file. A Decoded project has none.
func (p *Project) Files() []string { return p.files }

// filesRead lists what Load has read.
func (in *input) filesRead() []string {
	files := map[string]bool{}
	for _, s := range slices.Concat(in.sources.files, in.sources.others) {
		files[s.path] = true
	}
	for _, f := range slices.Concat(in.location.envFiles, in.attached) {
		files[f] = true
	}
	var list []string
	for f := range maps.Keys(files) {
		if filepath.IsAbs(f) {
			list = append(list, filepath.Clean(f))
		}
	}
	slices.Sort(list)
	return list
}
