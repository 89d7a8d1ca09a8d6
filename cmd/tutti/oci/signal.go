package oci

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tutti/runtime/oci"
)

func (c *cli) killCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "kill [OPTIONS] CONTAINER [SIGNAL]", Short: "Send a signal (TERM) to the container's first process",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 2 {
				return fmt.Errorf("%s: %q requires a maximum of 2 argument(s)", Name, cmd.Name())
			}
			return atLeast(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			sig := syscall.SIGTERM
			if len(args) == 2 {
				var err error
				if sig, err = parseSignal(args[1]); err != nil {
					return err
				}
			}
			return c.with(func(r *oci.Runtime) error { return r.Kill(cmd.Context(), args[0], sig, all) })
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "send the signal to every process of the container")
	return cmd
}

// maxSignal is the kernel's highest, SIGRTMAX.
const maxSignal = 64

// parseSignal takes a number or a name with or without SIG, in any case.
func parseSignal(s string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n <= maxSignal {
		return syscall.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("unknown signal %q", s)
}

func (c *cli) deleteCommand() *cobra.Command {
	var force bool
	cmd := c.onContainer("delete", "Delete a container that has ended, or was never started",
		func(ctx context.Context, r *oci.Runtime, id string) error { return r.Delete(ctx, id, force) })
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill the container first if it is running")
	return cmd
}

func (c *cli) pauseCommand() *cobra.Command {
	return c.onContainer("pause", "Suspend every process of a container",
		func(ctx context.Context, r *oci.Runtime, id string) error { return r.Pause(ctx, id) })
}

func (c *cli) resumeCommand() *cobra.Command {
	return c.onContainer("resume", "Resume the processes of a paused container",
		func(ctx context.Context, r *oci.Runtime, id string) error { return r.Resume(ctx, id) })
}
