package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// createCommand is up without the start.
func (a *app) createCommand() *cobra.Command {
	f := upFlags{}
	f.NoStart = true
	cmd := &cobra.Command{
		Use:         "create [OPTIONS] [SERVICE...]",
		Short:       "Creates containers for a service",
		Annotations: heeds(heedsDryRun, heedsParallel),
		PreRunE:     func(cmd *cobra.Command, args []string) error { return a.checkUp(cmd, &f, args) },
		RunE:        a.runUp(&f),
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.Build, "build", false, "Build images before starting containers")
	flags.BoolVar(&f.NoBuild, "no-build", false, "Don't build an image, even if it's policy")
	flags.StringVar(&f.Pull, "pull", "policy", `Pull image before running ("always"|"missing"|"never"|"build")`)
	flags.BoolVar(&f.quietPull, "quiet-pull", false, "Pull without printing progress information")
	flags.BoolVar(&f.ForceRecreate, "force-recreate", false, "Recreate containers even if their configuration and image haven't changed")
	flags.BoolVar(&f.NoRecreate, "no-recreate", false, "If containers already exist, don't recreate them. Incompatible with --force-recreate.")
	flags.BoolVar(&f.RemoveOrphans, "remove-orphans", false, "Remove containers for services not defined in the Compose file")
	flags.StringArrayVar(&f.scale, "scale", nil, "Scale SERVICE to NUM instances. Overrides the `scale` setting in the Compose file if present.")
	flags.BoolP("yes", "y", false, `Assume "yes" as answer to all prompts and run non-interactively`) // there are no prompts
	return cmd
}

// scaleCommand is up for some services, with the numbers given.
func (a *app) scaleCommand() *cobra.Command {
	var noDeps bool
	cmd := &cobra.Command{
		Use:         "scale [SERVICE=REPLICAS...]",
		Short:       "Scale services",
		Args:        minArgs(1),
		Annotations: heeds(heedsDryRun, heedsParallel),
		RunE: func(cmd *cobra.Command, args []string) error {
			f := upFlags{detach: true}
			f.NoDeps = noDeps
			var err error
			if f.Scale, err = parseReplicas(args); err != nil {
				return err
			}
			if err := a.checkUp(cmd, &f, sortedKeys(f.Scale)); err != nil {
				return err
			}
			return a.runUp(&f)(cmd, args)
		},
	}
	cmd.Flags().BoolVar(&noDeps, "no-deps", false, "Don't start linked services")
	return cmd
}

// parseReplicas reads SERVICE=NUMBER, with docker compose's words for what is wrong.
func parseReplicas(args []string) (map[string]int, error) {
	scale := map[string]int{}
	for _, arg := range args {
		service, number, ok := strings.Cut(arg, "=")
		if !ok || service == "" || number == "" {
			return nil, fmt.Errorf("invalid scale specifier: %s", arg)
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("invalid scale specifier: can't parse replica value as int: %s", arg)
		}
		if n < 0 {
			return nil, errors.New("invalid scale specifier: a service cannot have less than no containers: " + arg)
		}
		scale[service] = n
	}
	return scale, nil
}
