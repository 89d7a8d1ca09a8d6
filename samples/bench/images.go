package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// registryAddress is where the registry of the comparison listens, in the bench's own network namespace.
const registryAddress = "127.0.0.1:5000"

// startRegistry starts a registry and puts an image of an archive into it.
func startRegistry(ctx context.Context, work, archive, image string) (name string, stop func(), err error) {
	config := filepath.Join(work, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: '%s'}\n", work, registryAddress)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	server := exec.Command("docker-registry", "serve", config)
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}
	name = registryAddress + "/" + image
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		out, err := exec.CommandContext(ctx, "skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "docker-archive:"+archive+":"+image, "docker://"+name).CombinedOutput()
		if err == nil {
			return name, stop, nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			stop()
			return "", nil, fmt.Errorf("fill the registry: %w: %s", err, out)
		}
	}
}

// eachInTurn measures the same of all peers, one after the other in every run, so that what else the machine does
// meanwhile meets all of them. before is not measured.
func eachInTurn(ctx context.Context, peers []*peer, columns []column, runs int, what string, before, measured func(*peer) []string) error {
	times := make([][]time.Duration, len(peers))
	var t timer
	for i := range runs + 1 {
		for n, p := range peers {
			if before != nil {
				_ = p.run(ctx, before(p)...) // what is not there need not be removed
				time.Sleep(settle)           // nor should its removal be measured
			}
			times[n] = append(times[n], t.command(ctx, p, measured(p)))
			if t.err != nil {
				return fmt.Errorf("%s: %w", p.name, t.err)
			}
			fmt.Fprintf(os.Stderr, "%s, %s, run %d of %d: %v\n", p.name, what, i, runs, times[n][i])
		}
	}
	for n := range columns {
		columns[n].add(what, times[n][1:])
	}
	return nil
}

// pulls measures how long an image takes from a registry on this host to its unpacked layers.
func pulls(ctx context.Context, peers []*peer, columns []column, work, archive string, runs int) error {
	name, stop, err := startRegistry(ctx, work, archive, "debian:bookworm-slim")
	if err != nil {
		return err
	}
	defer stop()
	return eachInTurn(ctx, peers, columns, runs, "pull and unpack Debian",
		func(p *peer) []string { return append(slices.Clone(p.remove), name) },
		func(p *peer) []string { return append(slices.Clone(p.pull), name) })
}

// builds measures builds: 30 steps of which none is cached, and samples/mean with all of it cached. For that it must be
// built once, which takes npm's and Go's packages from the network.
func builds(ctx context.Context, peers []*peer, columns []column, samples, archive string, runs int) error {
	steps, mean := filepath.Join(samples, "steps", "compose.yaml"), filepath.Join(samples, "..", "mean", "compose.yaml")
	compose := func(args ...string) func(*peer) []string {
		return func(p *peer) []string { return append(slices.Clone(p.compose), args...) }
	}
	for _, p := range peers {
		if err := p.run(ctx, compose("-f", filepath.Join(samples, "run", "compose.yaml"), "up", "-d", "warm")(p)...); err != nil {
			return err
		}
		defer func() {
			_ = p.run(ctx, compose("-f", filepath.Join(samples, "run", "compose.yaml"), "down", "-t", "0")(p)...)
		}()
	}
	if err := eachInTurn(ctx, peers, columns, min(runs, 3), "`build` of 30 steps, none cached", nil, compose("-f", steps, "build", "--no-cache")); err != nil {
		return err
	}
	for _, p := range peers {
		fmt.Fprintf(os.Stderr, "%s: building samples/mean once\n", p.name)
		if err := errors.Join(p.run(ctx, append(slices.Clone(p.load), archive)...), p.run(ctx, compose("-f", mean, "build")(p)...)); err != nil {
			return fmt.Errorf("%s: samples/mean, which needs the network: %w", p.name, err)
		}
	}
	if err := eachInTurn(ctx, peers, columns, runs, "`build` of samples/mean, all cached", nil, compose("-f", mean, "build")); err != nil {
		return err
	}
	return memoryAfter(ctx, peers, columns)
}

// restTime is how long after the builds memory is measured.
const restTime = 30 * time.Second

func memoryAfter(ctx context.Context, peers []*peer, columns []column) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(restTime):
	}
	for n, p := range peers {
		pss, err := p.memory()
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		columns[n].rows = append(columns[n].rows, row{fmt.Sprintf("memory %v after the builds (PSS)", restTime), float64(pss) / 1e6, "MB"})
	}
	return nil
}
