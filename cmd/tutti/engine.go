package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"tutti/runtime/keeper"
	"tutti/scheduler"
	"tutti/scheduler/layout"
	"tutti/scheduler/server"
)

// engineCommand is what the keeper runs.
func (a *app) engineCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "engine",
		Short:       "Run the engine",
		Hidden:      true,
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return scheduler.Main(cmd.Context(), a.root, func(e *scheduler.Scheduler) http.Handler {
				return server.New(e, server.Build{Version: version, ID: buildID("/proc/self/exe")})
			})
		},
	}
}

// startEngine starts the engine and returns when it serves.
func startEngine(ctx context.Context, p layout.Paths, environ []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	if err := os.MkdirAll(p.Root, 0o700); err != nil {
		return fmt.Errorf("create the state folder: %w", err)
	}
	if err := os.MkdirAll(p.Run, 0o700); err != nil {
		return fmt.Errorf("create the run folder: %w", err)
	}
	// Not /tmp: what a killed engine leaves mounted here is found and cleaned up by the next.
	environ = append(environ, "TMPDIR="+p.TempDir())
	err = keeper.Start(ctx, keeper.StartOptions{RunDir: p.Run, EngineArgv: []string{self, "engine", "--root", p.Root}, EngineEnv: environ, LogFile: p.EngineLog()})
	if _, ok := errors.AsType[*keeper.EngineError](err); ok {
		return fmt.Errorf("%w\nits log is %s", err, p.EngineLog())
	}
	return err
}
