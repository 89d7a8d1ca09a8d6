package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
	"tutti/cmd/tutti/planview"
	"tutti/scheduler/api"
)

// exitWouldChange is the exit code of plan when `up` would do something.
const exitWouldChange = 2

// planFlags are the flags of plan, beside those that it has in common with up.
type planFlags struct {
	upFlags
	format             string
	showSecrets, quiet bool
}

func (a *app) planCommand() *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use:   "plan [OPTIONS] [SERVICE...]",
		Short: "Show what up would change, field by field, and why",
		Long: `Show what up, given the same flags, would change: what becomes of every container, network, volume and image, why, which
fields differ from what is there, and in which order it would be done. Nothing is changed, pulled or built.

Values that look like secrets are not shown, unless --show-secrets is given.

Exit codes: 0 nothing would change; 1 the question could not be answered, or up would fail; 2 something would change.`,
		Annotations: heeds(readsOnly),
		PreRunE: func(cmd *cobra.Command, args []string) error {
			if f.format != "text" && f.format != "json" {
				return fmt.Errorf("format value %q could not be parsed: parsing failed", f.format)
			}
			return a.checkUp(cmd, &f.upFlags, args)
		},
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error { return a.plan(ctx, &f) }),
	}
	a.planningFlags(cmd, &f.upFlags)
	flags := cmd.Flags()
	flags.StringVar(&f.format, "format", "text", "Format the output. Values: [text | json]")
	flags.BoolVar(&f.showSecrets, "show-secrets", false, "Show values that look like secrets, too")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "Print nothing, only end with the exit code")
	// Given to up, these change nothing of what it does.
	flags.BoolVarP(&f.detach, "detach", "d", false, "No effect, for `up` -d")
	flags.BoolVar(&f.quietPull, "quiet-pull", false, "No effect, for `up` --quiet-pull")
	flags.BoolVar(&f.quietBuild, "quiet-build", false, "No effect, for `up` --quiet-build")
	for _, name := range []string{"detach", "quiet-pull", "quiet-build"} {
		flags.Lookup(name).Hidden = true
	}
	return cmd
}

// plan asks the engine and prints its answer.
func (a *app) plan(ctx context.Context, f *planFlags) error {
	c, _, up, err := a.prepareUp(ctx, &f.upFlags)
	if err != nil {
		return err
	}
	request := api.PlanRequest{Project: up.Project, Options: up.Options, Client: up.Client, ShowSecrets: f.showSecrets}
	var answer *api.Plan
	err = c.Stream(ctx, "plan", request, func(e api.Event) {
		switch {
		case e.Plan != nil:
			answer = e.Plan
		case e.Kind == api.KindWarning && !f.quiet:
			a.warn(e.Text)
		}
	})
	if err != nil {
		return err
	}
	if answer == nil {
		return errors.New("the engine has answered without a plan")
	}
	switch {
	case f.quiet:
	case f.format == "json":
		err = listing.JSON(a.out, answer, "  ")
	default:
		err = planview.Print(a.out, *answer, a.colorful(a.out))
	}
	if err == nil && answer.Changes > 0 {
		err = &exitError{code: exitWouldChange}
	}
	return err
}
