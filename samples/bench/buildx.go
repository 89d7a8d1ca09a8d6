package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// pluginFolders are where docker's command line looks for plugins of the whole system, after those of the user
// (docker/cli, cli-plugins/manager).
var pluginFolders = []string{
	"/usr/local/lib/docker/cli-plugins", "/usr/local/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins", "/usr/libexec/docker/cli-plugins",
}

// installPlugins makes a folder of docker's configuration with the user's plugins and with buildx, if this machine has it,
// and says what builds then: without the plugin docker compose falls back to the classic builder, which is another matter.
func installPlugins(ctx context.Context, config string) (builder string, err error) {
	plugins := filepath.Join(config, "cli-plugins")
	if err := os.MkdirAll(plugins, 0o700); err != nil {
		return "", err
	}
	var programs []string
	for _, dir := range append([]string{userPlugins()}, pluginFolders...) {
		found, err := filepath.Glob(filepath.Join(dir, "docker-*"))
		if err != nil {
			return "", err
		}
		programs = append(programs, found...)
	}
	for _, name := range []string{"docker-buildx", "buildx"} {
		if program, err := exec.LookPath(name); err == nil {
			programs = append(programs, program)
		}
	}
	for _, program := range programs {
		name := "docker-" + strings.TrimPrefix(filepath.Base(program), "docker-")
		if err := os.Symlink(program, filepath.Join(plugins, name)); err != nil && !os.IsExist(err) {
			return "", err
		}
	}
	buildx := filepath.Join(plugins, "docker-buildx")
	if _, err := os.Stat(buildx); err != nil {
		fmt.Fprintln(os.Stderr, "bench: docker builds with its classic builder: there is no docker-buildx, neither as a plugin nor in PATH")
		return "its classic builder", nil //nolint:nilerr // it was said
	}
	out, err := exec.CommandContext(ctx, buildx, "version").Output()
	if err != nil {
		return "", fmt.Errorf("buildx version: %w", err)
	}
	return strings.TrimSpace(strings.TrimPrefix(string(out), "github.com/docker/")), nil // "buildx v0.33.0"
}

// userPlugins is the folder of the user's plugins.
func userPlugins() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "cli-plugins")
	}
	return filepath.Join(os.Getenv("HOME"), ".docker", "cli-plugins")
}
