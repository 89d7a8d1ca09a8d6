package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/system"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
)

func (a *app) systemInfoCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:         "info [OPTIONS]",
		Short:       "Display system-wide information",
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			i, err := get[system.Info](ctx, a, "/info")
			if err != nil {
				return err
			}
			if format != "" {
				return listing.Templated(a.out, format, "", nil, []system.Info{i})
			}
			a.printInfo(i)
			return nil
		}),
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "Format output using a custom template: 'json' or a Go template")
	return cmd
}

// printInfo shows what docker shows, but for what there is none of.
func (a *app) printInfo(i system.Info) {
	line := func(name string, value any) {
		if value != "" {
			fmt.Fprintln(a.out, " "+name+":", value)
		}
	}
	fmt.Fprintln(a.out, "Client:")
	line("Version", version)
	fmt.Fprintln(a.out, "\nServer:")
	line("Containers", i.Containers)
	line(" Running", i.ContainersRunning)
	line(" Paused", i.ContainersPaused)
	line(" Stopped", i.ContainersStopped)
	line("Images", i.Images)
	line("Server Version", i.ServerVersion)
	line("Storage Driver", i.Driver)
	for _, pair := range i.DriverStatus {
		line(" "+pair[0], pair[1])
	}
	line("Logging Driver", i.LoggingDriver)
	line("Cgroup Driver", i.CgroupDriver)
	line("Cgroup Version", i.CgroupVersion)
	fmt.Fprintln(a.out, " Plugins:")
	line(" Volume", strings.Join(i.Plugins.Volume, " "))
	line(" Network", strings.Join(i.Plugins.Network, " "))
	line(" Log", strings.Join(i.Plugins.Log, " "))
	line("Swarm", string(i.Swarm.LocalNodeState))
	line("Default Runtime", i.DefaultRuntime)
	fmt.Fprintln(a.out, " Security Options:")
	for _, o := range i.SecurityOptions {
		name, profile, _ := strings.Cut(strings.TrimPrefix(o, "name="), ",profile=")
		fmt.Fprintln(a.out, "  "+name)
		if profile != "" {
			fmt.Fprintln(a.out, "   Profile:", profile)
		}
	}
	line("Kernel Version", i.KernelVersion)
	line("Operating System", i.OperatingSystem)
	line("OSType", i.OSType)
	line("Architecture", i.Architecture)
	line("CPUs", i.NCPU)
	line("Total Memory", units.BytesSize(float64(i.MemTotal)))
	line("Name", i.Name)
	line("ID", i.ID)
	line("Root Dir", i.DockerRootDir)
	line("Live Restore Enabled", i.LiveRestoreEnabled)
	fmt.Fprintln(a.out)
}
