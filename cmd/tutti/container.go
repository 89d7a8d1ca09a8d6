package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
)

// containerCommand holds docker's management commands of containers.
func (a *app) containerCommand() *cobra.Command {
	own := []*cobra.Command{
		a.containerCreateCommand(), a.containerRunCommand(), a.containerUpdateCommand(),
		a.containerListCommand(), a.containerCopyCommand(), a.containerExportCommand(), a.containerCommitCommand(), a.containerDiffCommand(),
		a.pruneCommand(containerPruner, "Remove all stopped containers", nil),
	}
	return objectCommand("container", "Manage containers", nil,
		slices.Concat(own, a.containerLooks(), a.containerVerbs(), a.containerStreams())...)
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

// containerListFlags are docker's.
type containerListFlags struct {
	format                               string
	filters                              []string
	all, quiet, noTruncate, latest, size bool
	last                                 int
}

func (a *app) containerListCommand() *cobra.Command {
	var o containerListFlags
	cmd := &cobra.Command{
		Use:         "ls [OPTIONS]",
		Short:       "List containers",
		Aliases:     []string{"list", "ps"},
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			q, err := o.query()
			if err != nil {
				return err
			}
			list, err := get[[]container.Summary](ctx, a, "/containers/json?"+q.Encode())
			if err != nil {
				return err
			}
			if o.quiet {
				for _, ctr := range list {
					fmt.Fprintln(a.out, shortUnless(o.noTruncate, ctr.ID))
				}
				return nil
			}
			rows := make([]containerRow, 0, len(list))
			for _, ctr := range list {
				rows = append(rows, newContainerRow(ctr, o.noTruncate))
			}
			table := `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}`
			if o.size {
				table += `\t{{.Size}}`
			}
			return listing.Templated(a.out, o.format, table, containerHeaders, rows)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "", formatHelp)
	f.StringArrayVarP(&o.filters, "filter", "f", nil, "Filter output based on conditions provided")
	f.BoolVarP(&o.all, "all", "a", false, "Show all containers (default shows just running)")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Only display container IDs")
	f.BoolVar(&o.noTruncate, "no-trunc", false, "Don't truncate output")
	f.IntVarP(&o.last, "last", "n", -1, "Show n last created containers (includes all states)")
	f.BoolVarP(&o.latest, "latest", "l", false, "Show the latest created container (includes all states)")
	f.BoolVarP(&o.size, "size", "s", false, "Display total file sizes")
	return cmd
}

// query is what is asked for in docker's terms. Sizes are counted where they are shown: that takes its time.
func (o *containerListFlags) query() (url.Values, error) {
	filters, err := pruneFilters(o.filters)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(filters)
	if err != nil {
		return nil, err
	}
	size := o.size || strings.Contains(o.format, ".Size")
	q := url.Values{"all": {strconv.FormatBool(o.all)}, "size": {strconv.FormatBool(size)}, "filters": {string(text)}}
	switch {
	case o.last > 0:
		q.Set("limit", strconv.Itoa(o.last))
	case o.latest:
		q.Set("limit", "1")
	}
	return q, nil
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
		RunningFor: listing.Ago(created, time.Now()), Size: containerSize(c), State: string(c.State), Status: c.Status, labels: c.Labels,
	}
}

// containerSize is what a container has written, and what it is with its image.
func containerSize(c container.Summary) string {
	size := listing.Size(c.SizeRw)
	if c.SizeRootFs > 0 {
		size += " (virtual " + listing.Size(c.SizeRootFs) + ")"
	}
	return size
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
