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
	"github.com/spf13/pflag"

	"tutti/cmd/tutti/listing"
)

// inspectCommand prints what the engine says about objects, as docker's inspect does: an array, indented by four, or each
// through a template. path is where the engine tells it, with %s for the name; typed returns docker's type of such an
// object. flags adds flags of its own, which are asked for with the query that it returns; nil for none.
func (a *app) inspectCommand(kind, short, path string, typed func() any, flags func(*pflag.FlagSet) func() (url.Values, error)) *cobra.Command {
	query := func() (url.Values, error) { return nil, nil }
	var format string
	cmd := &cobra.Command{
		Use:         "inspect [OPTIONS] " + strings.ToUpper(kind) + " [" + strings.ToUpper(kind) + "...]",
		Short:       short,
		Args:        minArgs(1),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, names []string) error {
			q, err := query()
			if err != nil {
				return err
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			suffix := ""
			if len(q) > 0 {
				suffix = "?" + q.Encode()
			}
			found, errs := []json.RawMessage{}, []error(nil)
			for _, n := range names {
				var raw json.RawMessage
				if err := c.Call(ctx, http.MethodGet, fmt.Sprintf(path, url.PathEscape(n))+suffix, nil, &raw); err != nil {
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
	if flags != nil {
		query = flags(cmd.Flags())
	}
	return cmd
}

// inspectFormatHelp is docker's.
const inspectFormatHelp = `Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates`
