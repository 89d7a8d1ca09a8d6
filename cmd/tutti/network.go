package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"

	"github.com/fvbommel/sortorder"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
	"tutti/scheduler/api"
)

// networkCommand holds docker's management commands of networks.
func (a *app) networkCommand() *cobra.Command {
	return objectCommand("network", "Manage networks", nil, a.networkCheckCommand(), a.networkConnectCommand(), a.networkCreateCommand(),
		a.networkDisconnectCommand(), a.networkInspectCommand(), a.networkListCommand(), a.pruneCommand(networkPruner, "Remove all unused networks", nil),
		a.removeCommand("network", "Remove one or more networks", "/networks/%s"))
}

func (a *app) networkInspectCommand() *cobra.Command {
	cmd := a.inspectCommand("network", "Display detailed information on one or more networks", "/networks/%s?verbose=true", func() any { return new(network.Inspect) }, nil)
	cmd.Flags().BoolP("verbose", "v", false, "Verbose output for diagnostics") // which only networks of a swarm have more of
	return cmd
}

// networkRow is a network as `docker network ls` shows it.
type networkRow struct {
	CreatedAt, Driver, ID, IPv4, IPv6, Internal, Labels, Name, Scope string

	labels map[string]string
}

// Label is the value of one label, for templates.
func (r networkRow) Label(name string) string { return r.labels[name] }

var networkHeaders = listing.Headers{
	"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4",
	"IPv6": "IPV6", "Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
}

func (a *app) networkListCommand() *cobra.Command {
	var format string
	var quiet, noTruncate bool
	var filters []string
	cmd := &cobra.Command{
		Use:         "ls [OPTIONS]",
		Short:       "List networks",
		Aliases:     []string{"list"},
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			var list []network.Summary
			query, err := filterQuery(filters)
			if err != nil {
				return err
			}
			if err := c.Call(ctx, http.MethodGet, "/networks"+query, nil, &list); err != nil {
				return err
			}
			sort.Slice(list, func(i, j int) bool { return sortorder.NaturalLess(list[i].Name, list[j].Name) })
			rows := make([]networkRow, 0, len(list))
			for _, n := range list {
				rows = append(rows, networkRow{
					CreatedAt: n.Created.String(), Driver: n.Driver, ID: shortUnless(noTruncate, n.ID),
					IPv4: strconv.FormatBool(n.EnableIPv4), IPv6: strconv.FormatBool(n.EnableIPv6), Internal: strconv.FormatBool(n.Internal),
					Labels: listing.Labels(n.Labels), Name: n.Name, Scope: n.Scope, labels: n.Labels,
				})
			}
			if quiet {
				for _, r := range rows {
					fmt.Fprintln(a.out, r.ID)
				}
				return nil
			}
			return listing.Templated(a.out, format, `{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}`, networkHeaders, rows)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "", formatHelp)
	f.BoolVarP(&quiet, "quiet", "q", false, "Only display network IDs")
	f.BoolVar(&noTruncate, "no-trunc", false, "Do not truncate the output")
	f.StringArrayVarP(&filters, "filter", "f", nil, `Provide filter values (e.g. "driver=bridge")`)
	return cmd
}

// filterQuery is the query of a list that --filter flags choose from.
func filterQuery(flags []string) (string, error) {
	if len(flags) == 0 {
		return "", nil
	}
	filters, err := pruneFilters(flags)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(filters)
	return "?" + url.Values{"filters": {string(text)}}.Encode(), err
}

// removeCommand removes objects and prints the name of each that is gone.
func (a *app) removeCommand(kind, short, path string) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] " + strings.ToUpper(kind) + " [" + strings.ToUpper(kind) + "...]",
		Short:   short,
		Aliases: []string{"remove"},
		Args:    minArgs(1),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, names []string) error {
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			var errs []error
			for _, n := range names {
				err := c.Call(ctx, http.MethodDelete, fmt.Sprintf(path, url.PathEscape(n))+"?force="+strconv.FormatBool(force), nil, nil)
				var status *api.StatusError
				switch {
				case err == nil:
					fmt.Fprintln(a.out, n)
				case force && errors.As(err, &status) && status.Code == http.StatusNotFound:
				default:
					errs = append(errs, err)
				}
			}
			return errors.Join(errs...)
		}),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not error if the "+kind+" does not exist")
	return cmd
}
