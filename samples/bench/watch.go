package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// watchedFile is a project whose files are watched: some are copied, some are built into an image.
const watchedFile = `
name: bench-watch
services:
  copied:
    image: busybox:latest
    command: sleep 100000
    network_mode: none
    stop_grace_period: 0s
    develop: {watch: [{action: sync, path: src, target: /src}]}
  built:
    build: .
    command: sleep 100000
    network_mode: none
    stop_grace_period: 0s
    develop: {watch: [{action: rebuild, path: image}]}
`

// manyFiles is how many files are written at once.
const manyFiles = 1000

// watches prints how long a change of a file takes into a container, with the files watched by each peer in turn.
func watches(ctx context.Context, peers []*peer, work string, runs int) error {
	var columns []column
	for _, p := range peers {
		c := column{name: p.name}
		if err := c.watch(ctx, p, filepath.Join(work, "watch", strings.Fields(p.name)[0]), runs); err != nil {
			return fmt.Errorf("%s: watch: %w", p.name, err)
		}
		columns = append(columns, c)
	}
	printTable(os.Stdout, columns)
	return nil
}

// watch measures one peer.
func (c *column) watch(ctx context.Context, p *peer, dir string, runs int) (err error) {
	for name, content := range map[string]string{"compose.yaml": watchedFile, "Dockerfile": "FROM busybox:latest\nCOPY image /image\n", "src/one": "", "image/text": ""} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			return err
		}
	}
	file := filepath.Join(dir, "compose.yaml")
	stop, err := p.startWatch(ctx, file)
	defer func() {
		down := append(slices.Clone(p.compose), "-f", file, "down", "-t", "0")
		err = errors.Join(err, stop(), p.run(context.WithoutCancel(ctx), down...))
	}()
	if err != nil {
		return err
	}
	var one, many, rebuilt []time.Duration
	for i := range 5*runs + 1 {
		d, err := p.change(ctx, dir, "copied", "src/one", fmt.Sprintf("text %d", i), 1)
		if err != nil {
			return err
		}
		one = append(one, d)
	}
	for i := range runs + 1 { // new files each time: one that is overwritten waits for the disk
		d, err := p.change(ctx, dir, "copied", fmt.Sprintf("src/many%d", i), fmt.Sprintf("text %d", i), manyFiles)
		if err != nil {
			return err
		}
		many = append(many, d)
		if d, err = p.change(ctx, dir, "built", "image/text", fmt.Sprintf("text %d", i), 1); err != nil {
			return err
		}
		rebuilt = append(rebuilt, d)
	}
	sorted := slices.Sorted(slices.Values(one[1:]))
	c.add("a file written until it is in the container", one[1:])
	c.add("... 95 of 100 are there within", sorted[len(sorted)*95/100:][:1])
	c.add(fmt.Sprintf("%d files written until all are in the container", manyFiles), many[1:])
	c.add("a file written until the rebuilt container runs", rebuilt[1:])
	return nil
}

// startWatch starts `compose watch` and waits until it watches.
func (p *peer) startWatch(ctx context.Context, file string) (stop func() error, err error) {
	command := append(slices.Clone(p.compose), "-f", file, "watch")
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	out, err := os.Create(filepath.Join(filepath.Dir(file), "log"))
	if err != nil {
		return func() error { return nil }, err
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return out.Close, err
	}
	stop = func() error {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // it says that it was interrupted
		return out.Close()
	}
	return stop, within(ctx, func() bool {
		said, err := os.ReadFile(out.Name())
		return err == nil && bytes.Contains(said, []byte("Watch enabled"))
	})
}

// change writes files and returns how long it took until a running container of a service has all of them. One file has the name
// given, several are in a folder of that name.
func (p *peer) change(ctx context.Context, dir, service, name, content string, n int) (time.Duration, error) {
	time.Sleep(settle)
	names := []string{name}
	if n > 1 {
		names = nil
		for i := range n {
			names = append(names, filepath.Join(name, fmt.Sprint(i)))
		}
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	for _, file := range names {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			return 0, err
		}
	}
	var arrived time.Duration
	var seen view
	err := within(ctx, func() bool {
		for len(names) > 0 {
			if seen.read(ctx, p, service, "/"+names[0]) != content {
				return false
			}
			names = names[1:]
		}
		arrived = time.Since(began)
		return true
	})
	return arrived, err
}

// view is a container's file system, seen from here.
type view struct{ pid int }

// read reads a file of a service's container; "" if there is none.
func (v *view) read(ctx context.Context, p *peer, service, path string) string {
	if v.pid == 0 || service == "built" { // another container each time
		found, err := p.inspect(ctx, "bench-watch-"+service+"-1")
		if err != nil || found.State.Pid == 0 {
			return ""
		}
		v.pid = found.State.Pid
	}
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/root%s", v.pid, path))
	if err != nil {
		return "" // not yet
	}
	return string(content)
}

// within waits until something holds, for two minutes at most.
func within(ctx context.Context, holds func() bool) error {
	for deadline := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("it does not come")
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}
