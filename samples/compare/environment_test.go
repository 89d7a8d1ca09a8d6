package compare

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// environment is everything that the comparison starts.
type environment struct {
	work    string
	daemons []*exec.Cmd
	log     string // dockerd's
	rooms   []*room
	cgroup  string // the parent of docker's, which docker leaves behind
	said    string // versions
}

// start starts a dockerd and makes a state folder for tutti, each in a room of its own, with the base image.
func (e *environment) start() error {
	for _, program := range []string{"docker", "dockerd"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed, so there is nothing to compare with (Debian: docker.io)", program)
		}
	}
	binary, err := filepath.Abs("../../bin/tutti")
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("%w: run `make build` first", err)
	}
	for range 2 {
		r, err := newRoom()
		if err != nil {
			return err
		}
		e.rooms = append(e.rooms, r)
	}
	root := filepath.Join(e.work, "tutti")
	sum := sha256.Sum256([]byte(root))
	both.tutti = &peer{
		name: "tutti", room: e.rooms[1], command: []string{binary, "--root", root}, apart: true,
		socket: "/run/tutti-" + hex.EncodeToString(sum[:2]) + "/tutti.sock", env: []string{"COMPOSE_ANSI=never", "DOCKER_CONFIG=" + e.work + "/config"},
	}
	if err := e.startDocker(); err != nil {
		return err
	}
	images, err := exec.Command("../base-images/base-images.sh", "bootstrap").Output()
	if err != nil {
		return fmt.Errorf("base images: %w", err)
	}
	archive := filepath.Join(strings.TrimSpace(string(images)), "busybox.tar")
	for p, args := range map[*peer][]string{both.docker: {"load", "-i", archive}, both.tutti: {"image", "load", "-i", archive}} {
		if r, err := p.try(context.Background(), input{}, args...); err != nil || r.code != 0 {
			return fmt.Errorf("%s: %w", r, err)
		}
	}
	return nil
}

func (e *environment) startDocker() error {
	dir := filepath.Join(e.work, "docker")
	for _, sub := range []string{"docker", "config/cli-plugins"} {
		if err := os.MkdirAll(filepath.Join(e.work, sub), 0o700); err != nil {
			return err
		}
	}
	if err := e.plugins(); err != nil {
		return err
	}
	if err := os.WriteFile(dir+"/daemon.json", []byte("{}"), 0o600); err != nil {
		return err
	}
	e.cgroup = "tutti-compare-" + itoa(os.Getpid())
	e.log = dir + "/log"
	log, err := os.Create(e.log)
	if err != nil {
		return err
	}
	defer log.Close()
	command := e.rooms[0].command("dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "-H", "unix://"+dir+"/docker.sock",
		"--config-file", dir+"/daemon.json", "--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", "/"+e.cgroup)
	daemon := exec.Command(command[0], command[1:]...)
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		return err
	}
	e.daemons = append(e.daemons, daemon)
	both.docker = &peer{
		name: "docker", room: e.rooms[0], command: []string{"docker"}, socket: dir + "/docker.sock",
		env: []string{"DOCKER_HOST=unix://" + dir + "/docker.sock", "DOCKER_CONFIG=" + e.work + "/config", "DOCKER_CLI_HINTS=false", "BUILDX_BAKE_ENTITLEMENTS_FS=0"},
	}
	deadline := time.Now().Add(time.Minute)
	for {
		r, err := both.docker.try(context.Background(), input{}, "version", "--format", "{{.Server.Version}}")
		if err == nil && r.code == 0 {
			break
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(e.log)
			return fmt.Errorf("dockerd does not answer: %s\n%s", r, text)
		}
		time.Sleep(100 * time.Millisecond)
	}
	e.said, err = describe()
	return err
}

// plugins lets the docker command find plugins that are in the PATH under the names of their programs.
func (e *environment) plugins() error {
	for plugin, programs := range map[string][]string{"docker-buildx": {"docker-buildx", "buildx"}, "docker-compose": {"docker-compose"}} {
		for _, program := range programs {
			path, err := exec.LookPath(program)
			if err != nil {
				continue
			}
			if path, err = filepath.Abs(path); err != nil {
				return err
			}
			if err := os.Symlink(path, filepath.Join(e.work, "config/cli-plugins", plugin)); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// describe says what is compared with, and finds out how docker builds.
func describe() (string, error) {
	var b strings.Builder
	line := func(what string, p *peer, args ...string) string {
		r, err := p.try(context.Background(), input{}, args...)
		text := strings.TrimSpace(r.stdout)
		if err != nil || r.code != 0 || text == "" {
			text = "not installed"
		}
		first, _, _ := strings.Cut(text, "\n")
		fmt.Fprintf(&b, "%-15s %s\n", what, first)
		return text
	}
	line("docker", both.docker, "version", "--format", "client {{.Client.Version}}, server {{.Server.Version}} (API {{.Server.APIVersion}})")
	line("docker storage", both.docker, "info", "--format", "{{.Driver}}")
	buildx := line("docker buildx", both.docker, "buildx", "version")
	line("docker compose", both.docker, "compose", "version", "--short")
	line("tutti", both.tutti, "version", "--short")
	r, err := both.docker.try(context.Background(), input{}, "version", "--format", "{{.Client.Version}} {{.Server.APIVersion}}")
	if err != nil {
		return "", err
	}
	client, server, _ := strings.Cut(strings.TrimSpace(r.stdout), " ")
	oldDocker = buildx == "not installed" || before(server, 1, 42)
	oldCommand = before(client, 23, 0)
	switch {
	case buildx != "not installed":
		builder = "buildx"
	case oldCommand: // BuildKit's client was part of the command
		builder = "buildkit"
		both.docker.env = append(both.docker.env, "DOCKER_BUILDKIT=1")
	default:
		builder = "classic"
		both.docker.env = append(both.docker.env, "DOCKER_BUILDKIT=0")
	}
	fmt.Fprintf(&b, "%-15s %s\n", "docker builds by", builder)
	return b.String(), nil
}

// before compares the first two numbers of a version.
func before(version string, major, minor int) bool {
	var a, b int
	_, err := fmt.Sscanf(version, "%d.%d", &a, &b)
	return err == nil && (a < major || a == major && b < minor)
}

// What docker it is.
var (
	builder    string // how it builds: "buildx", "buildkit" (built into old commands), "classic"
	oldDocker  bool   // its daemon or its builder is from before docker 23
	oldCommand bool   // its command line is
)

func (e *environment) versions() string { return e.said }

// close ends everything, by process id, and finds out whether something is left.
func (e *environment) close() error {
	var errs []error
	if both.tutti != nil {
		errs = append(errs, e.endTutti())
	}
	if both.docker != nil {
		if r, err := both.docker.try(context.Background(), input{}, "ps", "-aq"); err == nil && r.code == 0 && r.stdout != "" {
			_, err = both.docker.try(context.Background(), input{}, append([]string{"rm", "-f", "-v"}, strings.Fields(r.stdout)...)...)
			errs = append(errs, err)
		}
	}
	for _, d := range e.daemons {
		_ = d.Process.Signal(syscall.SIGTERM) // gone already: as well
		_ = d.Wait()                          // how it ends is its own business
	}
	for _, r := range e.rooms {
		errs = append(errs, r.close())
	}
	errs = append(errs, e.awaitEnd(), removeCgroups(e.cgroup), os.RemoveAll(e.work))
	return errors.Join(errs...)
}

// endTutti removes all projects and waits for the engine, which goes by itself.
func (e *environment) endTutti() error {
	ctx := context.Background()
	r, err := both.tutti.try(ctx, input{}, "ls", "--all", "--quiet")
	for _, name := range strings.Fields(r.stdout) {
		_, downErr := both.tutti.try(ctx, input{}, "-p", name, "down", "--volumes", "--remove-orphans", "--timeout", "0")
		err = errors.Join(err, downErr)
	}
	return err
}

// awaitEnd waits until no process has to do with the work folder.
func (e *environment) awaitEnd() error {
	deadline := time.Now().Add(time.Minute)
	for {
		left := processesOf(e.work)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			for pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			return fmt.Errorf("still running, ended by force: %v", left)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// processesOf are those with a path in their command lines.
func processesOf(path string) map[int]string {
	found := map[int]string{}
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range list {
		text, err := os.ReadFile(file)
		pid, numErr := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && numErr == nil && pid != os.Getpid() && strings.Contains(string(text), path) {
			found[pid] = strings.ReplaceAll(string(text), "\x00", " ")
		}
	}
	return found
}

// removeCgroups removes the empty cgroups of a name, which docker leaves behind, in all hierarchies.
func removeCgroups(name string) error {
	if name == "" {
		return nil
	}
	var errs []error
	var dirs []string
	for _, pattern := range []string{"/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name} {
		found, err := filepath.Glob(pattern)
		errs = append(errs, err)
		dirs = append(dirs, found...)
	}
	for _, top := range dirs {
		var below []string
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				below = append(below, path)
			}
			return err
		})
		errs = append(errs, err)
		for i := len(below) - 1; i >= 0; i-- {
			errs = append(errs, os.Remove(below[i]))
		}
	}
	return errors.Join(errs...)
}
