package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// column is what was measured of one peer.
type column struct {
	name string
	rows []row // the same ones in the same order for all peers
}

// row is the median of one measurement.
type row struct {
	what  string
	value float64
	unit  string
}

func (c *column) add(what string, times []time.Duration) {
	c.rows = append(c.rows, row{what, float64(median(times)) / float64(time.Millisecond), "ms"})
}

// measure runs everything `runs` times, after one run that warms up.
func measure(ctx context.Context, p *peer, samples string, runs int) (column, error) {
	c := column{name: p.name}
	for _, part := range []func() error{
		func() error { return c.twenty(ctx, p, filepath.Join(samples, "compose.yaml"), runs) },
		func() error { return c.single(ctx, p, filepath.Join(samples, "run", "compose.yaml"), runs) },
		func() error { return c.health(ctx, p, filepath.Join(samples, "health", "compose.yaml")) },
		func() error { return c.cached(ctx, p, filepath.Join(samples, "cached", "compose.yaml"), runs) }, // last, because a builder stays in memory for a while
	} {
		if err := part(); err != nil {
			return c, err
		}
	}
	return c, nil
}

// twenty measures a project of 20 services that sleep.
func (c *column) twenty(ctx context.Context, p *peer, file string, runs int) error {
	var up, down, ps, exec []time.Duration
	var memory []int64
	var t timer
	for i := range runs + 1 {
		up = append(up, t.time(ctx, p, "-f", file, "up", "-d"))
		ps = append(ps, t.time(ctx, p, "-f", file, "ps"))
		exec = append(exec, t.time(ctx, p, "-f", file, "exec", "-T", "sleep", "true"))
		if t.err == nil {
			var pss int64
			pss, t.err = p.memory()
			memory = append(memory, pss)
		}
		down = append(down, t.time(ctx, p, "-f", file, "down", "-t", "0"))
		if t.err != nil {
			return t.err
		}
		fmt.Fprintf(os.Stderr, "%s, run %d of %d: up %v, down %v, %d bytes\n", p.name, i, runs, up[i], down[i], memory[i])
	}
	c.add("20 services, `up -d`", up[1:])
	c.add("20 services, `down -t 0`", down[1:])
	c.add("20 services, `ps`", ps[1:])
	c.add("`exec true`", exec[1:])
	c.rows = append(c.rows, row{"memory beside the 20 containers (PSS)", float64(median(memory[1:])) / 1e6, "MB"})
	return nil
}

// single measures one-off containers while another one runs, so that everything is warm.
func (c *column) single(ctx context.Context, p *peer, file string, runs int) error {
	var t timer
	t.time(ctx, p, "-f", file, "up", "-d", "warm")
	for _, kind := range []struct{ what, service string }{{"`run --rm`, no network", "alone"}, {"`run --rm`, on a bridge network", "bridged"}} {
		var times []time.Duration
		for range runs + 1 {
			times = append(times, t.time(ctx, p, "-f", file, "run", "--rm", "-T", kind.service, "true"))
		}
		c.add(kind.what, times[1:])
	}
	t.time(ctx, p, "-f", file, "down", "-t", "0")
	return t.err
}

// health measures how long after a service is ready `up --wait` ends, with the default options of a health check. Docker
// waits an interval of 30 s before its first probe, so once must do.
func (c *column) health(ctx context.Context, p *peer, file string) error {
	out, err := os.MkdirTemp("/var/tmp", "tutti-bench-ready-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(out)
	p.env = append(p.env, "OUT="+out)
	var t timer
	t.time(ctx, p, "-f", file, "up", "-d", "--wait")
	end := time.Now()
	var st syscall.Stat_t
	err = syscall.Stat(filepath.Join(out, "ready"), &st)
	t.time(ctx, p, "-f", file, "down", "-t", "0")
	c.add("`up --wait` ends after a service is ready", []time.Duration{end.Sub(time.Unix(st.Mtim.Unix()))})
	return errors.Join(t.err, err)
}

// cached measures a build of which everything is in the cache.
func (c *column) cached(ctx context.Context, p *peer, file string, runs int) error {
	var t timer
	var build []time.Duration
	for range runs + 1 {
		build = append(build, t.time(ctx, p, "-f", file, "build"))
	}
	c.add("`build`, all cached", build[1:])
	return t.err
}

// settle is the pause before each command, so that what an earlier one left to do in the background, such as deleting
// layers and bridges, is not charged to the next.
const settle = 500 * time.Millisecond

// timer times commands until one of them fails.
type timer struct{ err error }

func (t *timer) time(ctx context.Context, p *peer, args ...string) time.Duration {
	return t.command(ctx, p, append(slices.Clone(p.compose), args...))
}

func (t *timer) command(ctx context.Context, p *peer, command []string) time.Duration {
	if t.err != nil {
		return 0
	}
	time.Sleep(settle)
	start := time.Now()
	t.err = p.run(ctx, command...)
	return time.Since(start)
}

func median[T int64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// printTable prints a markdown table, with a column of how many times the first peer's figure each other one takes.
func printTable(w io.Writer, columns []column) {
	head, line := []string{""}, []string{"---"}
	for i, c := range columns {
		head, line = append(head, c.name), append(line, "---:")
		if i > 0 {
			head, line = append(head, "ratio"), append(line, "---:")
		}
	}
	fmt.Fprintf(w, "| %s |\n| %s |\n", strings.Join(head, " | "), strings.Join(line, " | "))
	if len(columns) == 0 {
		return
	}
	for i, r := range columns[0].rows {
		cells := []string{r.what}
		for n, c := range columns {
			cells = append(cells, fmt.Sprintf("%.3g %s", c.rows[i].value, r.unit))
			if n > 0 {
				cells = append(cells, fmt.Sprintf("%.1f", c.rows[i].value/r.value))
			}
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
}
