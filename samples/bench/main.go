// Command bench compares tutti with docker compose in the same conditions: 20 sleeping services up and
// down, a single `run`, how soon a healthy service is seen, the memory of what runs beside the containers,
// builds, and the pull of an image; how soon a changed file is in a container that follows it; the bare runtime with runc and crun; and what networks and the resolver
// carry with a direct cable (iperf3, dnsperf). It prints markdown tables of medians.
//
// Both run in the network namespace that bench was started in: `make bench` gives it one of its own, so
// that a dockerd started for the comparison leaves nothing behind on the host.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
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
	base := flag.String("base", "", "docker-archive with the base images of samples/mean; empty to leave pulls and builds out")
	samples := flag.String("samples", "samples/bench", "folder with the compose files")
	runs := flag.Int("runs", 7, "runs of each measurement")
	parts := flag.String("parts", "containers,images,watch,bare,network", "what to measure")
	pongOn := flag.String("pong", "", "only send back what comes in on this port")
	echoDNS := flag.String("echo-dns", "", "only answer DNS queries at this address, all alike and as simply as can be")
	pingAt := flag.String("ping", "", "only print how long a byte takes to this address and back")
	flag.Parse()
	wanted := strings.Split(*parts, ",")
	switch {
	case *pongOn != "":
		return pong(*pongOn)
	case *echoDNS != "":
		return answerAlike(*echoDNS)
	case *pingAt != "":
		return ping(*pingAt)
	case *images == "":
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
	for _, p := range peers {
		if p.about != "" {
			fmt.Printf("%s: %s.\n\n", p.name, p.about)
		}
	}
	for _, part := range []struct {
		names   []string
		measure func() error
	}{
		{[]string{"containers", "images"}, func() error { return commands(ctx, peers, wanted, work, *base, *samples, *runs) }},
		{[]string{"bare"}, func() error { return runtimes(ctx, *tutti, work, *runs) }},
		{[]string{"watch"}, func() error { return watches(ctx, peers, work, *runs) }},
		{[]string{"network", "dns"}, func() error {
			return network(ctx, os.Stdout, peers, *samples, work, *runs, !slices.Contains(wanted, "network"))
		}},
	} {
		if !slices.ContainsFunc(part.names, func(name string) bool { return slices.Contains(wanted, name) }) {
			continue
		}
		if err := part.measure(); err != nil {
			return err
		}
		fmt.Println()
	}
	return nil
}

// commands prints how long commands take with each peer.
func commands(ctx context.Context, peers []*peer, wanted []string, work, base, samples string, runs int) (err error) {
	var columns []column
	for _, p := range peers {
		c := column{name: p.name}
		if slices.Contains(wanted, "containers") {
			if c, err = measure(ctx, p, samples, runs); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		columns = append(columns, c)
	}
	if base != "" && slices.Contains(wanted, "images") {
		if err := pulls(ctx, peers, columns, work, base, runs); err != nil {
			return err
		}
		if err := builds(ctx, peers, columns, samples, base, runs); err != nil {
			return err
		}
	}
	printTable(os.Stdout, columns)
	return nil
}

// runtimes prints how long the bare runtimes take.
func runtimes(ctx context.Context, tutti, work string, runs int) error {
	columns, err := bareRuntimes(ctx, tutti, work, runs)
	if err != nil {
		return err
	}
	printTable(os.Stdout, columns)
	return nil
}
