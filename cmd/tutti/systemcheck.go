package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
	"tutti/scheduler/api"
	"tutti/scheduler/checkup"
	"tutti/scheduler/engine"
	"tutti/scheduler/layout"
)

// exitUnsound is the exit code of a check that has found something which is not repaired.
const exitUnsound = 2

const checkHelp = `Compare everything that tutti keeps with everything else and with the host

Every blob of every image is read and compared with its digest and size; databases with one another and with folders; records
of containers, volumes and networks; links, firewall rules, control groups, processes and mounts. With --deep, each layer is
unpacked once more and compared with what containers run from, file by file. Nothing is changed without --repair, and data of users, such as volumes, is not removed with it either. Other commands may run meanwhile.

Exit codes: 0 when all is well, or was repaired; 2 when something is wrong; 1 when the check could not be made.`

func (a *app) systemCheckCommand() *cobra.Command {
	var format string
	var repair, deep bool
	cmd := &cobra.Command{
		Use:         "check [OPTIONS]",
		Short:       "Check images, containers, volumes and networks, and repair them",
		Long:        checkHelp,
		Args:        noArgs,
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			if format != "" && format != "json" && format != "table" {
				return fmt.Errorf("format value %q could not be parsed: give json or table", format)
			}
			report, err := a.check(ctx, api.CheckRequest{Repair: repair, Deep: deep})
			if err != nil {
				return err
			}
			if format == "json" {
				err = listing.JSON(a.out, report, "")
			} else {
				err = a.printCheck(report)
			}
			if err == nil && report.Open() > 0 {
				err = &exitError{code: exitUnsound}
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "Repair what can be repaired")
	cmd.Flags().BoolVar(&deep, "deep", false, "Compare the files of unpacked layers with their content, too")
	cmd.Flags().StringVar(&format, "format", "", "Format the output: 'table' or 'json'")
	return cmd
}

// check asks the engine. When none runs, it looks first whether one could start: an engine would set damaged databases
// aside, which is a repair.
func (a *app) check(ctx context.Context, q api.CheckRequest) (api.CheckReport, error) {
	paths, err := layout.New(a.root)
	if err != nil {
		return api.CheckReport{}, err
	}
	report := api.CheckReport{Checked: map[string]int{}, Findings: []api.Finding{}}
	if err := api.NewClient(paths.Socket(), nil).Ping(ctx); errors.Is(err, api.ErrNotRunning) && os.Geteuid() == 0 {
		if report, err = engine.CheckDatabases(ctx, paths, q.Repair); err != nil {
			return report, err
		}
		if report.Open() > 0 {
			return report, nil
		}
	}
	c, err := a.connect(ctx)
	if err != nil {
		return report, err
	}
	var rest api.CheckReport
	q.KeepAside = len(report.Findings) > 0
	if err := c.Call(ctx, http.MethodPost, api.Prefix+"/check", q, &rest); err != nil {
		return report, err
	}
	maps.Copy(report.Checked, rest.Checked)
	report.Findings = append(report.Findings, rest.Findings...)
	return report, nil
}

// printCheck shows each finding, and a line that sums up.
func (a *app) printCheck(r api.CheckReport) error {
	for _, f := range r.Findings {
		fmt.Fprintln(a.out, checkup.Text(f))
	}
	var looked []string
	for _, area := range slices.Sorted(maps.Keys(r.Checked)) {
		looked = append(looked, fmt.Sprintf("%s %d", area, r.Checked[area]))
	}
	sum := "all is well"
	if n, open := len(r.Findings), r.Open(); n > 0 {
		sum = fmt.Sprintf("%d %s, %d repaired", n, plural(n, "finding"), n-open)
	}
	_, err := fmt.Fprintf(a.out, "%s (checked: %s)\n", sum, strings.Join(looked, ", "))
	if databases := r.Checked["databases"]; err == nil && len(r.Checked) == 1 && databases > 0 {
		_, err = fmt.Fprintln(a.out, "the rest can be checked once the databases are repaired: tutti system check --repair")
	}
	return err
}
