package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	var short bool
	var format string
	cmd := &cobra.Command{
		Use:         "version [OPTIONS]",
		Short:       "Show the tutti version information",
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: func(*cobra.Command, []string) error {
			switch {
			case short:
				fmt.Fprintln(a.out, strings.TrimPrefix(a.version, "v"))
			case format == "json":
				fmt.Fprintf(a.out, "{\"version\":%q}\n", a.version)
			case format == "" || format == "pretty":
				fmt.Fprintln(a.out, "tutti version", a.version)
			default:
				return fmt.Errorf("format value %q could not be parsed: parsing failed", format)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "Format the output. Values: [pretty | json]. (Default: pretty)")
	cmd.Flags().BoolVar(&short, "short", false, "Shows only tutti's version number")
	return cmd
}
