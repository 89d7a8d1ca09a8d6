package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
	"tutti/cmd/tutti/whyview"
	"tutti/scheduler/api"
)

// The exit codes of why, beside 0 when all is well and 1 when the question could not be answered.
const (
	exitNotWell = 2 // something has failed, is stopped or paused
	exitWaiting = 3 // nothing has failed, but something is still on its way
)

func (a *app) whyCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "why [OPTIONS] [SERVICE...]",
		Short: "Explain the state of services",
		Long: `Explain the state of services: how they ended and who ended them, what they wait for, who holds their ports, what their
health checks and last lines say, and what their last start spent its time on. Without SERVICE: of all that are not as
they should be.

Exit codes: 0 all is well; 1 the question could not be answered; 2 a service has failed, is stopped or paused;
3 none has, but one is still on its way.`,
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, services []string) error {
			if format != "" && format != "text" && format != "json" {
				return fmt.Errorf("format value %q could not be parsed: parsing failed", format)
			}
			c, name, err := a.connectProject(ctx)
			if err != nil {
				return err
			}
			var report api.Why
			q := url.Values{"service": services}
			if err := c.Get(ctx, api.Prefix+"/projects/"+url.PathEscape(name)+"/why?"+q.Encode(), &report); err != nil {
				return err
			}
			if format == "json" {
				err = listing.JSON(a.out, report, "  ")
			} else {
				err = whyview.Print(a.out, report, len(services) > 0)
			}
			if err != nil {
				return err
			}
			return whyExit(report)
		}),
	}
	cmd.Flags().StringVar(&format, "format", "text", "Format the output. Values: [text | json]")
	return cmd
}

// whyExit turns the verdicts into an exit code.
func whyExit(report api.Why) error {
	code := 0
	for _, s := range report.Services {
		switch s.Verdict {
		case api.VerdictFailed, api.VerdictStopped, api.VerdictPaused:
			return &exitError{code: exitNotWell}
		case api.VerdictWaiting:
			code = exitWaiting
		case api.VerdictOK, api.VerdictAbsent:
		}
	}
	if code != 0 {
		return &exitError{code: code}
	}
	return nil
}
