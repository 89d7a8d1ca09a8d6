package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// bareRuntimes compares `run` of a bundle with busybox's true: what of a container's life is the runtime's alone, without
// images, networks and an engine.
func bareRuntimes(ctx context.Context, tutti, work string, runs int) ([]column, error) {
	bundle, err := makeBundle(ctx, tutti, filepath.Join(work, "bundle"))
	if err != nil {
		return nil, fmt.Errorf("make a bundle: %w", err)
	}
	var columns []column
	for _, runtime := range [][]string{{tutti, "oci"}, {"runc"}, {"crun"}} {
		if !installed(runtime[0]) {
			fmt.Fprintf(os.Stderr, "bench: no comparison with %s: it is not installed\n", runtime[0])
			continue
		}
		name := filepath.Base(runtime[0])
		state := filepath.Join(work, "state-"+name)
		var times []time.Duration
		for i := range 10 * (runs + 1) {
			args := append(slices.Clone(runtime[1:]), "--root", state, "run", "--bundle", bundle, fmt.Sprintf("bench-%s-%d", name, i))
			start := time.Now()
			out, err := exec.CommandContext(ctx, runtime[0], args...).CombinedOutput()
			if err != nil && i == 0 && len(columns) > 0 {
				fmt.Fprintf(os.Stderr, "bench: no comparison with %s, which does not work here: %s\n", name, bytes.TrimSpace(out))
				break
			}
			if err != nil {
				return nil, fmt.Errorf("%s %v: %w\n%s", runtime[0], args, err, out)
			}
			times = append(times, time.Since(start))
		}
		if len(times) == 0 {
			continue
		}
		c := column{name: name}
		c.add("`run` of a bundle, whole process", times[10:])
		columns = append(columns, c)
	}
	return columns, nil
}

// makeBundle makes an OCI bundle of the host's static busybox, with the runtime's own example of a configuration.
func makeBundle(ctx context.Context, tutti, dir string) (string, error) {
	bin := filepath.Join(dir, "rootfs", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	from, err := os.Open("/bin/busybox")
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(bin, "true"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, from)
	if err = errors.Join(err, to.Close()); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, tutti, "oci", "spec", "--bundle", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		return "", err
	}
	process, ok := config["process"].(map[string]any)
	if !ok {
		return "", errors.New("its config.json has no process")
	}
	config["ociVersion"] = "1.0.2" // crun refuses what it does not know
	process["args"], process["terminal"] = []string{"/bin/true"}, false
	if text, err = json.Marshal(config); err != nil {
		return "", err
	}
	return dir, os.WriteFile(path, text, 0o644)
}
