package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
)

var containersNotYet = []notYet{
	{"inspect", "Display detailed information on one or more containers"},
	{"logs", "Fetch the logs of a container"},
	{"exec", "Execute a command in a running container"},
	{"start", "Start one or more stopped containers"},
	{"stop", "Stop one or more running containers"},
	{"restart", "Restart one or more containers"},
	{"kill", "Kill one or more running containers"},
	{"rm", "Remove one or more containers"},
	{"run", "Create and run a new container from an image"},
	{"attach", "Attach local standard input, output, and error streams to a running container"},
	{"create", "Create a new container"},
	{"pause", "Pause all processes within one or more containers"},
	{"port", "List port mappings or a specific mapping for the container"},
	{"rename", "Rename a container"},
	{"stats", "Display a live stream of container(s) resource usage statistics"},
	{"top", "Display the running processes of a container"},
	{"unpause", "Unpause all processes within one or more containers"},
	{"update", "Update configuration of one or more containers"},
	{"wait", "Block until one or more containers stop, then print their exit codes"},
}

// containerCommand holds docker's management commands of containers.
func (a *app) containerCommand() *cobra.Command {
	return objectCommand("container", "Manage containers", containersNotYet, a.containerListCommand(), a.containerCopyCommand(),
		a.containerExportCommand(), a.containerCommitCommand(), a.containerDiffCommand(),
		a.pruneCommand(containerPruner, "Remove all stopped containers", nil))
}

// objectCommand is a parent of management commands.
func objectCommand(name, short string, missing []notYet, commands ...*cobra.Command) *cobra.Command {
	parent := &cobra.Command{
		Use: name, Short: short, Args: noArgs, Annotations: heeds(readsOnly),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	parent.AddGroup(&cobra.Group{ID: groupObject, Title: "Commands:"})
	if len(missing) > 0 {
		parent.AddGroup(&cobra.Group{ID: groupNotYet, Title: "Not yet:"})
	}
	add(parent, groupObject, commands...)
	add(parent, groupNotYet, notYetCommands("tutti "+name, missing)...)
	return parent
}

// containerRow is a container as `docker container ls` shows it.
type containerRow struct {
	Command, CreatedAt, ID, Image, Labels, LocalVolumes, Mounts, Names, Networks, Ports, RunningFor, Size, State, Status string

	labels map[string]string
}

// Label is the value of one label, for templates.
func (r containerRow) Label(name string) string { return r.labels[name] }

var containerHeaders = listing.Headers{
	"ID": "CONTAINER ID", "Names": "NAMES", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT",
	"RunningFor": "CREATED", "Ports": "PORTS", "State": "STATE", "Status": "STATUS", "Size": "SIZE", "Labels": "LABELS",
	"Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS",
}

func (a *app) containerListCommand() *cobra.Command {
	var format string
	var all, quiet, noTruncate bool
	cmd := &cobra.Command{
		Use:         "ls [OPTIONS]",
		Short:       "List containers",
		Aliases:     []string{"list", "ps"},
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			list, err := get[[]container.Summary](ctx, a, "/containers/json?all="+strconv.FormatBool(all))
			if err != nil {
				return err
			}
			if quiet {
				for _, ctr := range list {
					fmt.Fprintln(a.out, shortUnless(noTruncate, ctr.ID))
				}
				return nil
			}
			rows := make([]containerRow, 0, len(list))
			for _, ctr := range list {
				rows = append(rows, newContainerRow(ctr, noTruncate))
			}
			const table = `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}`
			return listing.Templated(a.out, format, table, containerHeaders, rows)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "", formatHelp)
	f.BoolVarP(&all, "all", "a", false, "Show all containers (default shows just running)")
	f.BoolVarP(&quiet, "quiet", "q", false, "Only display container IDs")
	f.BoolVar(&noTruncate, "no-trunc", false, "Don't truncate output")
	refuse(cmd, refusal{name: "filter", short: "f"}, refusal{name: "last", short: "n"}, refusal{name: "latest", short: "l", isBool: true},
		refusal{name: "size", short: "s", isBool: true})
	return cmd
}

func newContainerRow(c container.Summary, noTruncate bool) containerRow {
	command, created := c.Command, time.Unix(c.Created, 0)
	names := make([]string, 0, len(c.Names))
	for _, n := range c.Names {
		names = append(names, strings.TrimPrefix(n, "/"))
	}
	if !noTruncate {
		command = listing.Ellipsis(command, 20)
	}
	var mounts, networks []string
	volumes := 0
	for _, m := range c.Mounts {
		name := m.Name
		if name == "" {
			name = m.Source
		} else {
			volumes++
		}
		if !noTruncate {
			name = listing.Ellipsis(name, 15)
		}
		mounts = append(mounts, name)
	}
	if c.NetworkSettings != nil {
		networks = slices.Sorted(maps.Keys(c.NetworkSettings.Networks))
	}
	return containerRow{
		Command: strconv.Quote(command), CreatedAt: created.String(), ID: shortUnless(noTruncate, c.ID), Image: c.Image,
		Labels: listing.Labels(c.Labels), LocalVolumes: strconv.Itoa(volumes), Mounts: strings.Join(mounts, ","),
		Names: strings.Join(names, ","), Networks: strings.Join(networks, ","), Ports: summaryPorts(c.Ports),
		RunningFor: listing.Ago(created, time.Now()), Size: "0B", State: string(c.State), Status: c.Status, labels: c.Labels,
	}
}

func summaryPorts(all []container.PortSummary) string {
	ports := make([]listing.Port, 0, len(all))
	for _, p := range all {
		host := ""
		if p.IP.IsValid() {
			host = p.IP.String()
		}
		ports = append(ports, listing.Port{Host: host, Public: int(p.PublicPort), Container: int(p.PrivatePort), Proto: p.Type})
	}
	return listing.Ports(ports)
}

func shortUnless(full bool, id string) string {
	if full {
		return id
	}
	return listing.ShortID(id)
}
