package container

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tutti/project"
	"tutti/scheduler/supervise"
	"tutti/volumes"
)

// service loads a compose file with one service "a" from its YAML body and translates it.
func service(t *testing.T, body string, img Image) (Config, error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "compose.yaml")
	text := "name: demo\nservices:\n  a:\n    image: x\n" + body
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := project.Load(t.Context(), project.Options{Files: []string{file}, Environ: []string{"TOKEN=s3cret"}})
	if err != nil {
		t.Fatalf("load %s: %v", text, err)
	}
	return FromService(p, p.Services["a"], img)
}

var busybox = Image{
	ID: "sha256:1", Entrypoint: []string{"/entry"}, Cmd: []string{"serve"}, Env: []string{"PATH=/bin", "A=image", "B=image"}, WorkingDir: "/w", User: "img",
	StopSignal: "SIGQUIT", Labels: map[string]string{"from": "image", "both": "image"}, Volumes: []string{"/data", "/cache"}, ExposedPorts: []string{"80/tcp"},
	Health: &supervise.HealthCheck{Test: []string{"CMD", "check"}, Interval: 7 * time.Second, Retries: 9},
}

func TestFromService(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		body string
		got  func(Config) any
		want any
	}{
		{"image's arguments", "", func(c Config) any { return c.Args() }, []string{"/entry", "serve"}},
		{"command replaces the image's", "    command: [a, b]\n", func(c Config) any { return c.Args() }, []string{"/entry", "a", "b"}},
		{"entrypoint drops the image's command", "    entrypoint: /mine -x\n", func(c Config) any { return c.Args() }, []string{"/mine", "-x"}},
		{"environment overrides", "    environment: {A: mine, C: new}\n", func(c Config) any { return c.Env }, []string{"PATH=/bin", "B=image", "A=mine", "C=new"}},
		{"user and folder of the image", "", func(c Config) any { return c.User + c.WorkingDir + c.StopSignal }, "img/wSIGQUIT"},
		{"labels merge", "    labels: {both: mine}\n", func(c Config) any { return c.Labels["from"] + "," + c.Labels["both"] }, "image,mine"},
		{"image's volumes become anonymous ones", "    volumes: [named:/data]\nvolumes: {named: }\n", func(c Config) any {
			var s []string
			for _, m := range c.Mounts {
				s = append(s, string(m.Type)+" "+m.Source+" "+m.Target)
			}
			return s
		}, []string{"volume demo_named /data", "volume  /cache"}},
		{"default grace", "", func(c Config) any { return c.StopGrace }, 10 * time.Second},
		{"own grace", "    stop_grace_period: 1m30s\n", func(c Config) any { return c.StopGrace }, 90 * time.Second},
		{
			"health check merges field by field", "    healthcheck: {interval: 1s}\n", func(c Config) any { return *c.Health },
			supervise.HealthCheck{Test: []string{"CMD", "check"}, Interval: time.Second, Retries: 9},
		},
		{"health check off", "    healthcheck: {disable: true}\n", func(c Config) any { return c.Health == nil }, true},
		{"restart with a count", "    restart: on-failure:3\n", func(c Config) any { return c.Restart }, supervise.RestartPolicy{Name: "on-failure", MaxRetries: 3}},
		{"restart of deploy", "    deploy: {restart_policy: {condition: any, delay: 2s}}\n", func(c Config) any { return c.Restart }, supervise.RestartPolicy{Name: "always", Delay: 2 * time.Second}},
		{"no restart", "", func(c Config) any { return c.Restart.Name }, "no"},
		{"ports", "    ports: ['127.0.0.1:8080:80', '53:53/udp', '9000']\n", func(c Config) any { return c.Ports }, []Port{
			{Target: 80, Protocol: "tcp", HostIP: "127.0.0.1", Published: "8080"}, {Target: 53, Protocol: "udp", Published: "53"}, {Target: 9000, Protocol: "tcp"},
		}},
		{"exposed ports", "    expose: ['3000', '4000-4001/udp']\n", func(c Config) any { return c.Exposed }, []Port{
			{Target: 80, Protocol: "tcp"}, {Target: 3000, Protocol: "tcp"}, {Target: 4000, Protocol: "udp"}, {Target: 4001, Protocol: "udp"},
		}},
		{"default network", "", func(c Config) any { return c.Networks }, []Attachment{{Network: "demo_default", Aliases: []string{"a"}}}},
		{"network options", "    networks: {n: {aliases: [x], ipv4_address: 10.5.0.9}}\nnetworks: {n: }\n", func(c Config) any { return c.Networks }, []Attachment{{Network: "demo_n", Aliases: []string{"a", "x"}, IPv4: "10.5.0.9"}}},
		{"host network", "    network_mode: host\n", func(c Config) any { return c.NetworkMode + ":" + itoa(len(c.Networks)) }, "host:0"},
		{"memory and cpus", "    mem_limit: 64m\n    cpus: 0.5\n    pids_limit: 20\n", func(c Config) any {
			return []int64{*c.Resources.Memory.Limit, *c.Resources.Memory.Swap, *c.Resources.CPU.Quota, *c.Resources.Pids.Limit}
		}, []int64{64 << 20, 128 << 20, 50_000, 20}},
		{"deploy limits", "    deploy: {resources: {limits: {memory: 32m}}}\n", func(c Config) any { return *c.Resources.Memory.Limit }, int64(32 << 20)},
		{"ulimits", "    ulimits: {nofile: {soft: 10, hard: 20}, nproc: 5}\n", func(c Config) any {
			return []any{c.Rlimits[0].Type, c.Rlimits[0].Soft, c.Rlimits[0].Hard, c.Rlimits[1].Type, c.Rlimits[1].Hard}
		}, []any{"RLIMIT_NOFILE", uint64(10), uint64(20), "RLIMIT_NPROC", uint64(5)}},
		{"local logs rotate", "    logging: {driver: local}\n", func(c Config) any { return c.Log }, Log{Driver: "local", MaxSize: 20 << 20, MaxFiles: 5}},
		{"log options", "    logging: {options: {max-size: 10k, max-file: '3'}}\n", func(c Config) any { return c.Log }, Log{Driver: "json-file", MaxSize: 10 << 10, MaxFiles: 3, Options: map[string]string{}}},
		{"secret from the environment", "    secrets: [t]\nsecrets: {t: {environment: TOKEN}}\n", func(c Config) any { return []any{c.Files[0].Target, string(c.Files[0].Content)} }, []any{"/run/secrets/t", "s3cret"}},
		{"config with content and mode", "    configs: [{source: c, target: /etc/c, mode: 0400, uid: '7'}]\nconfigs: {c: {content: hi}}\n", func(c Config) any {
			return []any{c.Files[0].Target, string(c.Files[0].Content), *c.Files[0].Mode, *c.Files[0].UID}
		}, []any{"/etc/c", "hi", uint32(0o400), 7}},
		{"tmpfs, short", "    tmpfs: ['/run:size=1m,exec']\n", func(c Config) any { return c.Mounts[0].Mount }, volumes.Mount{Type: volumes.TypeTmpfs, Target: "/run", Options: []string{"size=1m", "exec"}}},
		{"links", "    links: ['a2:db']\n  a2: {image: y}\n", func(c Config) any { return c.Links }, []Link{{Service: "a2", Alias: "db"}}},
		{"no new privileges", "    security_opt: ['no-new-privileges:true']\n", func(c Config) any { return c.Security.NoNewPrivileges }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := service(t, tt.body, busybox)
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.got(c); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, want %#v", got, tt.want)
			}
		})
	}
}

func itoa(n int) string { return string(rune('0' + n)) }

func TestFromServiceRefusesByName(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body, want string }{
		{"a log driver", "    logging: {driver: fluentd}\n", `logging driver "fluentd" is not supported`},
		{"a log option", "    logging: {options: {nonsense: x}}\n", "logging option nonsense=x"},
		{"a security option", "    security_opt: ['selinux=mine']\n", `invalid security option "selinux=mine"`},
		{"an external secret", "    secrets: [t]\nsecrets: {t: {external: true}}\n", `secret "t" is external`},
		{"both cpu limits", "    cpus: 1\n    cpu_quota: 50000\n", "cpus and cpu_quota"},
		{"a network mode", "    network_mode: wormhole\n", `network_mode "wormhole"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := service(t, tt.body, busybox)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
	t.Run("no command at all", func(t *testing.T) {
		t.Parallel()
		if _, err := service(t, "", Image{}); err == nil || !strings.Contains(err.Error(), "no command") {
			t.Errorf("got %v", err)
		}
	})
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		state State
		want  string
	}{
		{State{Status: Created}, "Created"},
		{State{Status: Running, Started: now.Add(-5 * time.Second)}, "Up 5 seconds"},
		{State{Status: Running, Started: now.Add(-2 * time.Minute), Health: &supervise.Health{Status: "healthy"}}, "Up 2 minutes (healthy)"},
		{State{Status: Running, Started: now, Health: &supervise.Health{Status: "starting"}}, "Up Less than a second (health: starting)"},
		{State{Status: Exited, ExitCode: 137, Finished: now.Add(-time.Hour)}, "Exited (137) About an hour ago"},
		{State{Status: Restarting, ExitCode: 1, Finished: now.Add(-3 * time.Second)}, "Restarting (1) 3 seconds ago"},
		{State{Status: Paused, Started: now.Add(-5 * time.Second)}, "Up 5 seconds (Paused)"},
	}
	for _, tt := range tests {
		if got := tt.state.Describe(now); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
