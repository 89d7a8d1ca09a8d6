// Command bench compares tutti with docker compose in the same conditions: 20 sleeping services up and
// down, the memory of what runs beside the containers, and a build of which everything is cached. It
// prints a markdown table of medians.
//
// Both run in the network namespace that bench was started in: `make bench` gives it one of its own, so
// that a dockerd started for the comparison leaves nothing behind on the host.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	tutti := flag.String("tutti", "bin/tutti", "tutti's binary; empty to leave it out")
	images := flag.String("images", "", "docker-archive with busybox:latest")
	samples := flag.String("samples", "samples/bench", "folder with the compose files")
	runs := flag.Int("runs", 7, "runs of each measurement")
	flag.Parse()
	if *images == "" {
		return errors.New("-images is missing")
	}

	work, err := os.MkdirTemp("/var/tmp", "tutti-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	var peers []*peer
	defer func() {
		for _, p := range peers {
			p.stop()
		}
	}()
	for _, start := range []func() (*peer, error){
		func() (*peer, error) { return startTutti(*tutti, work) },
		func() (*peer, error) { return startDocker(ctx, work) },
	} {
		p, err := start()
		if err != nil {
			return err
		}
		if p == nil {
			continue
		}
		peers = append(peers, p)
		if err := p.run(ctx, append(slices.Clone(p.load), *images)...); err != nil {
			return err
		}
	}
	var columns []column
	for _, p := range peers {
		c, err := measure(ctx, p, *samples, *runs)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		columns = append(columns, c)
	}
	printTable(os.Stdout, columns)
	return nil
}

// column is what was measured of one peer: medians.
type column struct {
	name                      string
	up, down, ps, exec, build time.Duration
	memory                    int64 // bytes, PSS
}

// measure runs everything `runs` times, after one run that warms up.
func measure(ctx context.Context, p *peer, samples string, runs int) (column, error) {
	var up, down, ps, exec, build []time.Duration
	var memory []int64
	sleeps := filepath.Join(samples, "compose.yaml")
	cached := filepath.Join(samples, "cached", "compose.yaml")
	var t timer
	for i := range runs + 1 {
		up = append(up, t.time(ctx, p, "-f", sleeps, "up", "-d"))
		ps = append(ps, t.time(ctx, p, "-f", sleeps, "ps"))
		exec = append(exec, t.time(ctx, p, "-f", sleeps, "exec", "-T", "sleep", "true"))
		if t.err == nil {
			var pss int64
			pss, t.err = p.memory()
			memory = append(memory, pss)
		}
		down = append(down, t.time(ctx, p, "-f", sleeps, "down", "-t", "0"))
		if t.err != nil {
			return column{}, t.err
		}
		fmt.Fprintf(os.Stderr, "%s, run %d of %d: up %v, down %v, %d bytes\n", p.name, i, runs, up[i], down[i], memory[i])
	}
	for range runs + 1 { // last, because a builder stays in memory for a while
		build = append(build, t.time(ctx, p, "-f", cached, "build"))
	}
	if t.err != nil {
		return column{}, t.err
	}
	c := column{name: p.name, up: median(up[1:]), down: median(down[1:]), ps: median(ps[1:]), exec: median(exec[1:])}
	c.build, c.memory = median(build[1:]), median(memory[1:])
	return c, nil
}

// settle is the pause before each command, so that what an earlier one left to do in the background, such as deleting
// layers and bridges, is not charged to the next.
const settle = 500 * time.Millisecond

// timer times commands until one of them fails.
type timer struct{ err error }

func (t *timer) time(ctx context.Context, p *peer, args ...string) time.Duration {
	if t.err != nil {
		return 0
	}
	time.Sleep(settle)
	start := time.Now()
	t.err = p.run(ctx, append(slices.Clone(p.compose), args...)...)
	return time.Since(start)
}

func median[T int64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// printTable prints a markdown table; with two columns, a third with how much less the first one takes.
func printTable(w io.Writer, columns []column) {
	rows := []struct {
		what  string
		value func(column) float64
		unit  string
	}{
		{"20 services, `up -d`", func(c column) float64 { return ms(c.up) }, "ms"},
		{"20 services, `down -t 0`", func(c column) float64 { return ms(c.down) }, "ms"},
		{"20 services, `ps`", func(c column) float64 { return ms(c.ps) }, "ms"},
		{"`exec true`", func(c column) float64 { return ms(c.exec) }, "ms"},
		{"`build`, all cached", func(c column) float64 { return ms(c.build) }, "ms"},
		{"memory beside the 20 containers (PSS)", func(c column) float64 { return float64(c.memory) / 1e6 }, "MB"},
	}
	head, line := []string{""}, []string{"---"}
	for _, c := range columns {
		head, line = append(head, c.name), append(line, "---:")
	}
	if len(columns) == 2 {
		head, line = append(head, "ratio"), append(line, "---:")
	}
	fmt.Fprintf(w, "| %s |\n| %s |\n", strings.Join(head, " | "), strings.Join(line, " | "))
	for _, r := range rows {
		cells := []string{r.what}
		for _, c := range columns {
			cells = append(cells, fmt.Sprintf("%.0f %s", r.value(c), r.unit))
		}
		if len(columns) == 2 {
			cells = append(cells, fmt.Sprintf("%.1f", r.value(columns[1])/r.value(columns[0])))
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
