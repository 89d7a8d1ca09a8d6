package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tutti/scheduler/api"
)

// containerLooks are docker's commands that look at containers and change nothing.
func (a *app) containerLooks() []*cobra.Command {
	inspect := a.inspectCommand("container", "Display detailed information on one or more containers", "/containers/%s/json",
		func() any { return new(container.InspectResponse) }, func(f *pflag.FlagSet) func() (url.Values, error) {
			size := f.BoolP("size", "s", false, "Display total file sizes")
			return func() (url.Values, error) { return url.Values{"size": {strconv.FormatBool(*size)}}, nil }
		})
	return []*cobra.Command{inspect, a.containerPortCommand(), a.containerTopCommand(), a.containerStatsCommand(), a.containerLogsCommand()}
}

// inspectContainer asks for one container.
func inspectContainer(ctx context.Context, c *api.Client, name string) (j container.InspectResponse, err error) {
	if err = c.Call(ctx, http.MethodGet, containerPath(name, "json", nil), nil, &j); err != nil {
		return j, err
	}
	if j.Config == nil || j.NetworkSettings == nil || j.State == nil {
		return j, fmt.Errorf("the engine describes container %s in part only", name)
	}
	return j, nil
}

func (a *app) containerPortCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "port CONTAINER [PRIVATE_PORT[/PROTO]]",
		Short:       "List port mappings or a specific mapping for the container",
		Args:        cobra.RangeArgs(1, 2),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			j, err := inspectContainer(ctx, c, args[0])
			if err != nil {
				return err
			}
			lines, err := portLines(j.NetworkSettings.Ports, args[0], optional(args, 1))
			for _, l := range lines {
				fmt.Fprintln(a.out, l)
			}
			return err
		}),
	}
}

// portLines are what is published of a container, or of one port of it, "80" or "80/tcp".
func portLines(ports network.PortMap, name, wanted string) ([]string, error) {
	number, protocol, _ := strings.Cut(wanted, "/")
	protocol = cmp.Or(protocol, "tcp")
	if _, err := strconv.ParseUint(number, 10, 16); err != nil && wanted != "" {
		return nil, fmt.Errorf("invalid port (%s): %w", number, err)
	}
	var lines []string
	for _, p := range slices.SortedFunc(maps.Keys(ports), func(a, b network.Port) int {
		return cmp.Or(cmp.Compare(a.Num(), b.Num()), cmp.Compare(a.Proto(), b.Proto()))
	}) {
		if wanted != "" && p.String() != number+"/"+protocol {
			continue
		}
		var own []string
		for _, b := range ports[p] {
			host := ""
			if b.HostIP.IsValid() {
				host = b.HostIP.String()
			}
			own = append(own, net.JoinHostPort(host, b.HostPort))
		}
		slices.Sort(own)
		for i := range own {
			if wanted == "" {
				own[i] = p.String() + " -> " + own[i]
			}
		}
		lines = append(lines, own...)
	}
	if wanted != "" && len(lines) == 0 {
		return nil, fmt.Errorf("no public port '%s' published for %s", wanted, name)
	}
	return lines, nil
}

func (a *app) containerTopCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:         "top CONTAINER [ps OPTIONS]",
		Short:       "Display the running processes of a container",
		Args:        minArgs(1),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			q := url.Values{}
			if len(args) > 1 {
				q.Set("ps_args", strings.Join(args[1:], " "))
			}
			list, err := get[container.TopResponse](ctx, a, containerPath(args[0], "top", q))
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(a.out, 20, 1, 3, ' ', 0)
			fmt.Fprintln(w, strings.Join(list.Titles, "\t"))
			for _, p := range list.Processes {
				fmt.Fprintln(w, strings.Join(p, "\t"))
			}
			return w.Flush()
		}),
	}
	cmd.Flags().SetInterspersed(false) // what follows the container is for ps
	return cmd
}

func (a *app) containerStatsCommand() *cobra.Command {
	var f statsFlags
	cmd := &cobra.Command{
		Use:         "stats [OPTIONS] [CONTAINER...]",
		Short:       "Display a live stream of container(s) resource usage statistics",
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, names []string) error {
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			q := url.Values{"container": names, "all": {strconv.FormatBool(f.all)}, "stream": {strconv.FormatBool(!f.noStream)}}
			return a.followStats(ctx, c, api.Prefix+"/containers/stats?"+q.Encode(), &f)
		}),
	}
	f.add(cmd.Flags())
	return cmd
}
