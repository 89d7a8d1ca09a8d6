package oci

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tutti/runtime"
	"tutti/runtime/oci"
)

func createFlags(f *pflag.FlagSet, o *oci.CreateOptions) {
	f.StringVarP(&o.Bundle, "bundle", "b", ".", "path of the bundle")
	f.StringVar(&o.ConsoleSocket, "console-socket", "", "unix socket that receives the master of the terminal")
	f.StringVar(&o.PidFile, "pid-file", "", "file to write the process ID to")
	f.BoolVar(&o.NoPivot, "no-pivot", false, "do not use pivot_root(2), for a root file system on a ramdisk")
	f.BoolVar(&o.NoNewKeyring, "no-new-keyring", false, "keep the caller's session keyring")
	f.IntVar(&o.PreserveFDs, "preserve-fds", 0, "pass N additional descriptors to the container (3 + $LISTEN_FDS + N in total)")
}

func stdio() runtime.Stdio {
	s := ownStreams()
	return runtime.Stdio{Stdin: s[0], Stdout: s[1], Stderr: s[2]}
}

func (c *cli) createCommand() *cobra.Command {
	o := oci.CreateOptions{Stdio: stdio()}
	cmd := &cobra.Command{
		Use: "create [OPTIONS] CONTAINER", Short: "Create a container", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(func(r *oci.Runtime) error {
				_, err := r.Create(cmd.Context(), args[0], o)
				return err
			})
		},
	}
	createFlags(cmd.Flags(), &o)
	return cmd
}

func (c *cli) startCommand() *cobra.Command {
	return c.onContainer("start", "Execute the program of a created container",
		func(ctx context.Context, r *oci.Runtime, id string) error { return r.Start(ctx, id) })
}

func (c *cli) runCommand() *cobra.Command {
	o := oci.CreateOptions{Stdio: stdio()}
	var detach, keep, noSubreaper bool
	cmd := &cobra.Command{
		Use: "run [OPTIONS] CONTAINER", Short: "Create and start a container, wait for its end and delete it", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Attached = !detach
			return c.with(func(r *oci.Runtime) error { return run(cmd.Context(), r, args[0], o, keep) })
		},
	}
	f := cmd.Flags()
	createFlags(f, &o)
	f.BoolVarP(&detach, "detach", "d", false, "leave the container running")
	f.BoolVar(&keep, "keep", false, "do not delete the container after it ended")
	f.BoolVar(&noSubreaper, "no-subreaper", false, "accepted for runc's sake: this runtime never is a subreaper")
	return cmd
}

func run(ctx context.Context, r *oci.Runtime, id string, o oci.CreateOptions, keep bool) error {
	container, err := r.Create(ctx, id, o)
	if err != nil {
		return err
	}
	var console *terminal
	if o.Attached {
		console, err = attach(container.Console, container)
		if err != nil {
			return errors.Join(err, container.Delete(ctx))
		}
		defer console.detach()
	}
	if err := container.Start(ctx); err != nil {
		return errors.Join(err, container.Delete(ctx))
	}
	if !o.Attached {
		return nil
	}
	status, err := container.Wait(ctx)
	console.detach()
	if !keep {
		err = errors.Join(err, r.Delete(ctx, id, true))
	}
	if err != nil || status.Code == 0 {
		return err
	}
	return exitCode(status.Code)
}
