package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/bootunit"
	"tutti/runtime/cgroup/scope"
	"tutti/scheduler/api"
	"tutti/scheduler/layout"
)

var systemNotYet = []notYet{
	{"events", "Get real time events from the engine"},
}

// systemCommand holds docker's management commands of the engine, and what concerns the host.
func (a *app) systemCommand() *cobra.Command {
	cmd := objectCommand("system", "Manage the engine", systemNotYet, a.systemInstallCommand(), a.systemUninstallCommand(),
		a.systemDiskUsageCommand(), a.systemPruneCommand(), a.systemInfoCommand(), a.systemCheckCommand())
	cmd.AddCommand(a.systemBootCommand(), a.systemHaltCommand())
	return cmd
}

// bootUnit is the service of the engine that the command is for.
func (a *app) bootUnit() (bootunit.Unit, error) {
	p, err := layout.New(a.root)
	if err != nil {
		return bootunit.Unit{}, err
	}
	program, err := os.Executable()
	if err != nil {
		return bootunit.Unit{}, fmt.Errorf("find this program's own file: %w", err)
	}
	return bootunit.Unit{Name: p.UnitName(), Program: program, Root: p.Root, Default: p.Root == layout.DefaultRoot}, nil
}

func (a *app) systemInstallCommand() *cobra.Command {
	var show bool
	cmd := &cobra.Command{
		Use:         "install [OPTIONS]",
		Short:       "Start containers at boot, by a systemd service",
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			u, err := a.bootUnit()
			if err != nil {
				return err
			}
			if show {
				_, err := fmt.Fprint(a.out, u.Text())
				return err
			}
			if err := a.mayInstall(); err != nil {
				return err
			}
			return u.Install(ctx, a.tell)
		}),
	}
	cmd.Flags().BoolVar(&show, "print", false, "Print the unit file, and do nothing")
	return cmd
}

func (a *app) systemUninstallCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "uninstall",
		Short:       "Do not start containers at boot any more",
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			u, err := a.bootUnit()
			if err != nil {
				return err
			}
			if err := a.mayInstall(); err != nil {
				return err
			}
			return u.Uninstall(ctx, a.tell)
		}),
	}
}

func (a *app) tell(text string) { fmt.Fprintln(a.out, text) } //nolint:errcheck // nobody is left to tell

func (a *app) mayInstall() error {
	if !scope.Booted() {
		return bootunit.ErrNoSystemd
	}
	if os.Geteuid() != 0 {
		return errors.New("only root can change what starts at boot: run tutti as root, for example with sudo")
	}
	return nil
}

// systemBootCommand is what the service runs at boot. The engine does the rest.
func (a *app) systemBootCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "boot",
		Short:       "Start the engine, which starts containers by their restart policies",
		Hidden:      true,
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			_, err := a.connect(ctx)
			return err
		}),
	}
}

// systemHaltCommand is what the service runs when it is stopped: only when the host goes down it does something.
func (a *app) systemHaltCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "halt",
		Short:       "Stop all containers if the host is going down",
		Hidden:      true,
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			if scope.Booted() {
				down, err := bootunit.GoingDown(ctx)
				if err != nil {
					return err
				}
				if !down {
					a.tell("the host is not going down: containers go on")
					return nil
				}
			}
			p, err := layout.New(a.root)
			if err != nil {
				return err
			}
			c := api.NewClient(p.Socket(), nil)
			err = c.Stream(ctx, "halt", api.HaltRequest{}, func(e api.Event) {
				if e.Kind == api.KindResource {
					a.tell(e.Resource + " " + e.Name + "  " + e.Status)
				}
			})
			if errors.Is(err, api.ErrNotRunning) {
				return nil // nothing runs
			}
			return err
		}),
	}
}
