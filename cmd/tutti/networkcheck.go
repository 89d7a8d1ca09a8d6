package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
	"tutti/cmd/tutti/reachview"
	"tutti/scheduler/api"
)

// exitNotReached is the exit code of network check when the target that was asked for is not reached.
const exitNotReached = 2

// networkCheckCommand is tutti's own: docker has nothing like it.
func (a *app) networkCheckCommand() *cobra.Command {
	var format string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "check [OPTIONS] [SERVICE [TARGET[:PORT[/udp]]]]",
		Short: "Find out by packets who reaches whom, and why not",
		Long: `Find out by packets who reaches whom, and why not. They are sent from inside SERVICE's network namespace: a TCP connection
that is closed at once, a ping, or an empty UDP datagram.

TARGET is a service, "host" for the machine itself, "outside" for whatever is behind it, an address, or a name that SERVICE
can resolve. Without PORT a service is tried at the ports that it exposes or publishes, or else at those it listens on.
Without TARGET everything is tried, without SERVICE from every service.

In the table "closed" says that the container answers but nothing listens on its ports.

Exit codes: 0 TARGET is reached, or there was none; 1 the question could not be answered; 2 TARGET is not reached.`,
		Args:        cobra.MaximumNArgs(2),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			show, err := reachFormat(format, len(args))
			if err != nil {
				return err
			}
			c, name, err := a.connectProject(ctx)
			if err != nil {
				return err
			}
			q := url.Values{"timeout": {timeout.String()}}
			for i, key := range []string{"from", "to"} {
				if i < len(args) {
					q.Set(key, args[i])
				}
			}
			var report api.Reach
			if err := c.Get(ctx, api.Prefix+"/projects/"+url.PathEscape(name)+"/reach?"+q.Encode(), &report); err != nil {
				return err
			}
			if err := show(a, report); err != nil {
				return err
			}
			if len(args) == 2 && report.Checks[0].Result != api.ReachYes {
				return &exitError{code: exitNotReached}
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&format, "format", "", "Format the output. Values: [table | details | json | markdown]; default: details with SERVICE")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Second, "How long an answer is waited for")
	return cmd
}

// reachFormat is how a report is shown.
func reachFormat(format string, args int) (func(*app, api.Reach) error, error) {
	if format == "" && args > 0 {
		format = "details"
	}
	switch format {
	case "json":
		return func(a *app, r api.Reach) error { return listing.JSON(a.out, r, "  ") }, nil
	case "markdown":
		return func(a *app, r api.Reach) error { return reachview.Markdown(a.out, r) }, nil
	case "details":
		return func(a *app, r api.Reach) error { return reachview.Details(a.out, r) }, nil
	case "", "table":
		return func(a *app, r api.Reach) error { return reachview.Matrix(a.out, r) }, nil
	}
	return nil, fmt.Errorf("format value %q could not be parsed: parsing failed", format)
}
