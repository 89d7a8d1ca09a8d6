package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
)

// inspectCommand prints what the engine says about objects, as docker's inspect does: an array, indented by four, or each
// through a template. path is where the engine tells it, with %s for the name; typed returns docker's type of such an
// object.
func (a *app) inspectCommand(kind, short, path string, typed func() any) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:         "inspect [OPTIONS] " + strings.ToUpper(kind) + " [" + strings.ToUpper(kind) + "...]",
		Short:       short,
		Args:        minArgs(1),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, names []string) error {
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			found, errs := []json.RawMessage{}, []error(nil)
			for _, n := range names {
				var raw json.RawMessage
				if err := c.Call(ctx, http.MethodGet, fmt.Sprintf(path, url.PathEscape(n)), nil, &raw); err != nil {
					errs = append(errs, err)
					continue
				}
				found = append(found, raw)
			}
			if format == "" {
				return errors.Join(append(errs, listing.JSON(a.out, found, "    "))...)
			}
			for _, raw := range found {
				if err := listing.Inspect(a.out, format, raw, typed()); err != nil {
					return errors.Join(append(errs, err)...)
				}
			}
			return errors.Join(errs...)
		}),
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", inspectFormatHelp)
	return cmd
}

// inspectFormatHelp is docker's.
const inspectFormatHelp = `Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates`
