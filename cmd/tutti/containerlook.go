package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
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

// containerLogsFlags are docker's.
type containerLogsFlags struct {
	details, follow, timestamps bool
	since, until, tail          string
}

func (a *app) containerLogsCommand() *cobra.Command {
	var f containerLogsFlags
	cmd := &cobra.Command{
		Use:         "logs [OPTIONS] CONTAINER",
		Short:       "Fetch the logs of a container",
		Args:        exactArgs(1),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			q, err := f.query(time.Now())
			if err != nil {
				return err
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			j, err := inspectContainer(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.copyLogs(ctx, c, containerPath(j.ID, "logs", q), j.Config.Tty)
		}),
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.details, "details", false, "Show extra details provided to logs")
	flags.BoolVarP(&f.follow, "follow", "f", false, "Follow log output")
	flags.StringVar(&f.since, "since", "", `Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`)
	flags.StringVar(&f.until, "until", "", `Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`)
	flags.BoolVarP(&f.timestamps, "timestamps", "t", false, "Show timestamps")
	flags.StringVarP(&f.tail, "tail", "n", "all", "Number of lines to show from the end of the logs")
	return cmd
}

// query is what is asked for in docker's terms; relative times are before now.
func (f *containerLogsFlags) query(now time.Time) (url.Values, error) {
	q := url.Values{
		"stdout": {"1"}, "stderr": {"1"}, "tail": {f.tail}, "follow": {strconv.FormatBool(f.follow)},
		"timestamps": {strconv.FormatBool(f.timestamps)}, "details": {strconv.FormatBool(f.details)},
	}
	for name, text := range map[string]string{"since": f.since, "until": f.until} {
		t, err := api.ParseTime(text, now)
		if err != nil {
			return nil, fmt.Errorf("invalid value for %q: %w", name, err)
		}
		if !t.IsZero() {
			q.Set(name, fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()))
		}
	}
	return q, nil
}

// copyLogs prints what the engine sends: a terminal's bytes as they are, else each stream where it belongs.
func (a *app) copyLogs(ctx context.Context, c *api.Client, path string, tty bool) error {
	body, err := c.Open(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // reads only
	if tty {
		_, err = io.Copy(a.out, body)
	} else {
		_, err = stdcopy.StdCopy(a.out, a.err, body)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && engineGone(err):
		return errors.Join(errors.New("the logs broke off"), err)
	}
	return err
}
