package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// peer is one of the programs compared.
type peer struct {
	name    string
	about   string   // what it consists of, "" when the name says it
	compose []string // the command that takes compose's arguments
	load    []string // the command that loads an image archive
	pull    []string // ... that pulls an image
	remove  []string // ... that removes an image
	socket  string   // of docker's API
	env     []string
	owned   func(process) bool // the processes that run beside the containers
	stop    func()
}

// run runs a command to its end; its output is part of the error only.
func (p *peer) run(ctx context.Context, command ...string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
	}
	return nil
}

// memory is the PSS of everything that runs beside the containers, in bytes.
func (p *peer) memory() (int64, error) {
	all, err := processes()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, proc := range all {
		if !p.owned(proc) {
			continue
		}
		pss, err := proc.pss()
		if err != nil {
			return 0, err
		}
		sum += pss
	}
	if sum == 0 {
		return 0, fmt.Errorf("none of its processes found")
	}
	return sum, nil
}

// processorTime is what everything that runs beside the containers has had of the processors so far.
func (p *peer) processorTime() (time.Duration, error) {
	all, err := processes()
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, proc := range all {
		if !p.owned(proc) {
			continue
		}
		t, err := proc.processorTime()
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

func startTutti(binary, work string) (*peer, error) {
	if binary == "" {
		return nil, nil
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(work, "tutti")
	return &peer{
		name:    "tutti",
		compose: []string{binary, "--root", root},
		load:    []string{binary, "--root", root, "image", "load", "-i"},
		pull:    []string{binary, "--root", root, "image", "pull", "-q"},
		remove:  []string{binary, "--root", root, "image", "rm", "-f"},
		socket:  "/run/tutti-" + instance(root) + "/tutti.sock",
		owned: func(p process) bool {
			return p.mentions(root) && (p.name == "tutti-keeper" || strings.Contains(p.cmdline, "engine"))
		},
		stop: func() {}, // the engine ends by itself
	}, nil
}

// instance is how tutti names what belongs to a state folder.
func instance(root string) string {
	sum := sha256.Sum256([]byte(root))
	return hex.EncodeToString(sum[:2])
}

// startDocker starts a dockerd of its own where one is installed, together with docker compose.
func startDocker(ctx context.Context, work string) (*peer, error) {
	compose := []string{"docker", "compose"}
	if exec.Command(compose[0], "compose", "version").Run() != nil {
		compose = []string{"docker-compose"}
	}
	for _, program := range []string{"dockerd", "docker", compose[0]} {
		if !installed(program) {
			fmt.Fprintf(os.Stderr, "bench: no comparison with docker compose: %s is not installed\n", program)
			return nil, nil
		}
	}
	dir := filepath.Join(work, "docker")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	socket := "unix://" + dir + "/docker.sock"
	config := filepath.Join(dir, "config")
	builder, err := installPlugins(ctx, config)
	if err != nil {
		return nil, err
	}
	var log bytes.Buffer
	daemon := exec.Command("dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "-H", socket)
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		return nil, err
	}
	p := &peer{
		name:    "docker compose",
		compose: compose,
		load:    []string{"docker", "load", "-i"},
		pull:    []string{"docker", "pull", "-q"},
		remove:  []string{"docker", "rmi", "-f"},
		// Else buildx asks whether samples/mean may have its certificates.
		env:    []string{"DOCKER_HOST=" + socket, "DOCKER_CONFIG=" + config, "BUILDX_BAKE_ENTITLEMENTS_FS=0"},
		socket: dir + "/docker.sock",
		owned: func(p process) bool {
			return p.pid == daemon.Process.Pid || p.mentions(dir) && strings.HasPrefix(p.name, "containerd") || p.name == "docker-proxy"
		},
		stop: func() {
			_ = daemon.Process.Signal(syscall.SIGTERM)
			_ = daemon.Wait()
		},
	}
	deadline := time.Now().Add(30 * time.Second)
	for p.run(ctx, "docker", "version") != nil {
		if time.Now().After(deadline) || ctx.Err() != nil {
			p.stop()
			return nil, fmt.Errorf("dockerd does not answer: %s", log.String())
		}
		time.Sleep(100 * time.Millisecond)
	}
	p.about = fmt.Sprintf("dockerd %s, docker compose %s, builds by %s", p.answer(ctx, "docker", "version", "--format", "{{.Server.Version}}"),
		p.answer(ctx, append(slices.Clone(compose), "version", "--short")...), builder)
	return p, nil
}

// answer is what a command prints, for people.
func (p *peer) answer(ctx context.Context, command ...string) string {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	out, err := cmd.Output()
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return strings.TrimSpace(string(out))
}

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// inspected is what docker's API says of a container.
type inspected struct {
	State           struct{ Pid int }
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress string }
	}
}

// inspect asks for a container.
func (p *peer) inspect(ctx context.Context, name string) (found inspected, err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", p.socket)
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://peer/containers/"+name+"/json", nil)
	if err != nil {
		return found, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return found, err
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&found); err != nil {
		return found, fmt.Errorf("inspect %s: %s: %w", name, answer.Status, err)
	}
	return found, nil
}
