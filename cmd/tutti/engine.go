package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"
)

// engineCommand is what the keeper runs.
func (a *app) engineCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "engine",
		Short:       "Run the engine",
		Hidden:      true,
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE:        func(*cobra.Command, []string) error { return errNoEngine },
	}
}

var errNoEngine = errors.New("the engine is not part of this build")

// paths are the folders of one engine.
type paths struct{ root, run string }

// Socket is where the engine listens.
func (p paths) Socket() string { return filepath.Join(p.run, "tutti.sock") }

// enginePaths returns the folders that belong to a state root; "" is the default root.
func enginePaths(root string) (paths, error) {
	if root == "" || filepath.Clean(root) == "/var/lib/tutti" {
		return paths{"/var/lib/tutti", "/run/tutti"}, nil
	}
	abs, err := filepath.Abs(root)
	return paths{abs, filepath.Join(abs, "run")}, err
}

// startEngine starts the engine and returns when it serves.
func startEngine(context.Context, paths, []string) error { return errNoEngine }
