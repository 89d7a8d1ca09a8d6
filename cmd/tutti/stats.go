package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tutti/cmd/tutti/listing"
	"tutti/scheduler/api"
)

type statsFlags struct {
	all, noStream, noTruncate bool
	format                    string
}

func (a *app) statsCommand() *cobra.Command {
	var f statsFlags
	cmd := &cobra.Command{
		Use:         "stats [OPTIONS] [SERVICE]",
		Short:       "Display a live stream of container(s) resource usage statistics",
		Args:        cobra.MaximumNArgs(1),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, services []string) error {
			c, name, err := a.connectProject(ctx)
			if err != nil {
				return err
			}
			q := url.Values{"service": services, "all": {strconv.FormatBool(f.all)}, "stream": {strconv.FormatBool(!f.noStream)}}
			return a.followStats(ctx, c, api.Prefix+"/projects/"+url.PathEscape(name)+"/stats?"+q.Encode(), &f)
		}),
	}
	f.add(cmd.Flags())
	return cmd
}

func (f *statsFlags) add(flags *pflag.FlagSet) {
	flags.BoolVarP(&f.all, "all", "a", false, "Show all containers (default shows just running)")
	flags.StringVar(&f.format, "format", "", formatHelp)
	flags.BoolVar(&f.noStream, "no-stream", false, "Disable streaming stats and only pull the first result")
	flags.BoolVar(&f.noTruncate, "no-trunc", false, "Do not truncate output")
}

// followStats prints each frame that the engine sends, over the end of one engine and the start of the next.
func (a *app) followStats(ctx context.Context, c *api.Client, path string, f *statsFlags) error {
	for {
		body, err := c.Open(ctx, http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		err = a.readStats(body, f)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case f.noStream && errors.Is(err, io.EOF):
			return nil
		case !engineGone(err):
			return err
		}
		if err := awaitEngine(ctx, c); err != nil {
			return err
		}
	}
}

func (a *app) readStats(body io.ReadCloser, f *statsFlags) error {
	defer body.Close()
	d := json.NewDecoder(bufio.NewReader(body))
	for {
		var list []api.Usage
		if err := d.Decode(&list); err != nil {
			return err
		}
		if err := a.printStats(list, f); err != nil {
			return err
		}
	}
}

// printStats prints one frame. A live table is drawn over the one before it, without flicker; where there is no terminal
// the frames follow one another.
func (a *app) printStats(list []api.Usage, f *statsFlags) error {
	if f.noStream && len(list) == 0 {
		return nil
	}
	rows := make([]statsRow, 0, len(list))
	for _, u := range list {
		rows = append(rows, newStatsRow(u, f.noTruncate))
	}
	var frame bytes.Buffer
	const table = `{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}`
	if err := listing.Templated(&frame, f.format, table, statsHeaders, rows); err != nil {
		return err
	}
	if _, tty := terminal(a.out); tty && !f.noStream {
		drawn := append([]byte("\x1b[H"), bytes.ReplaceAll(frame.Bytes(), []byte("\n"), []byte("\x1b[K\n"))...)
		frame.Reset()
		frame.Write(append(drawn, "\x1b[J"...))
	}
	_, err := a.out.Write(frame.Bytes())
	return err
}

// statsRow is a container as `docker stats` shows it to templates and in JSON.
type statsRow struct{ BlockIO, CPUPerc, Container, ID, MemPerc, MemUsage, Name, NetIO, PIDs string }

var statsHeaders = listing.Headers{
	"Container": "CONTAINER", "Name": "NAME", "ID": "CONTAINER ID", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT",
	"MemPerc": "MEM %", "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
}

func newStatsRow(u api.Usage, noTruncate bool) statsRow {
	percent := func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) + "%" }
	both := func(a, b uint64) string {
		return units.HumanSizeWithPrecision(float64(a), 3) + " / " + units.HumanSizeWithPrecision(float64(b), 3)
	}
	return statsRow{
		BlockIO: both(u.BlockRead, u.BlockWrite), CPUPerc: percent(u.CPUPercent), Container: u.ID, ID: shortUnless(noTruncate, u.ID),
		MemPerc: percent(u.MemoryPercent), MemUsage: fmt.Sprintf("%s / %s", units.BytesSize(float64(u.Memory)), units.BytesSize(float64(u.MemoryLimit))),
		Name: u.Name, NetIO: both(u.NetRx, u.NetTx), PIDs: strconv.FormatUint(u.Pids, 10),
	}
}
