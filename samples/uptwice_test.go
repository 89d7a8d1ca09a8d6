package samples

import (
	"maps"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// upTwiceFeatures is a project with what compose files typically have, each in a service of its own.
const upTwiceFeatures = `
x-base: &b {image: "busybox:latest", command: sleep 1000, init: true, stop_grace_period: 0s}
services:
  plain: {<<: *b}
  env: {<<: *b, environment: {A: "1", B: , C: "${NOPE:-x}"}, env_file: [web.env, {path: none.env, required: false}]}
  labels: {<<: *b, labels: [a=b, c], annotations: {x: y}}
  entry: {<<: *b, entrypoint: [sleep], command: ["1000"], working_dir: /tmp, user: "1000:1000", hostname: h, domainname: d.example}
  ports: {<<: *b, ports: ["8101:80", "127.0.0.1:8102:81/udp", "8110-8112:90-92", "7000", {target: 99, published: "8120-8125", mode: host}], expose: ["80", "90/udp"]}
  volumes:
    <<: *b
    tmpfs: ["/run:size=1m"]
    volumes:
      - data:/data
      - ./bind:/bind:ro
      - /anonymous
      - {type: tmpfs, target: /t, tmpfs: {size: 1m}}
      - {type: volume, source: data, target: /sub, volume: {nocopy: true}}
      - {type: image, source: "busybox:latest", target: /img}
  from: {<<: *b, volumes_from: ["volumes:ro"]}
  configs: {<<: *b, configs: [inline, {source: file, target: /f, mode: 0440, uid: "1"}], secrets: [{source: env, target: x}, file]}
  networks: {<<: *b, networks: {front: {aliases: [a, b], ipv4_address: 10.213.1.9, priority: 5}, six: {}}, mac_address: "02:42:ac:11:00:09"}
  none: {<<: *b, network_mode: none}
  host: {<<: *b, network_mode: host}
  bridge: {<<: *b, network_mode: bridge}
  ipc: {<<: *b, ipc: shareable, shm_size: 1m}
  shared: {<<: *b, network_mode: "service:plain", pid: "service:plain", ipc: "service:ipc"}
  links: {<<: *b, links: ["plain:p"], dns: [192.0.2.2], dns_search: [x.example], dns_opt: ["ndots:2"], extra_hosts: ["h:1.2.3.4", "h:1.2.3.5", "g:host-gateway"]}
  limits: {<<: *b, mem_limit: 50m, mem_reservation: 10m, cpus: 0.5, pids_limit: 100, cpu_shares: 512}
  deployed: {<<: *b, deploy: {replicas: 2, restart_policy: {condition: on-failure, max_attempts: 2}, resources: {limits: {memory: 50m, pids: 100}}}}
  capabilities: {<<: *b, cap_add: [NET_ADMIN, CAP_SYS_TIME], cap_drop: [CHOWN], security_opt: ["no-new-privileges:true"], read_only: true}
  privileged: {<<: *b, privileged: true, userns_mode: host, uts: host}
  devices: {<<: *b, devices: ["/dev/null:/dev/nix", "/dev/zero"], group_add: ["5"]}
  ulimits: {<<: *b, ulimits: {nofile: {soft: 100, hard: 200}, nproc: 500}, sysctls: {net.core.somaxconn: 100}, oom_score_adj: 10}
  health: {<<: *b, healthcheck: {test: "true", interval: 100ms, start_period: 1s, retries: 2}}
  unhealthy: {<<: *b, healthcheck: {disable: true}}
  job: {<<: *b, command: "true"}
  needs: {<<: *b, depends_on: {health: {condition: service_healthy, restart: true}, job: {condition: service_completed_successfully}, plain: {condition: service_started, required: false}}}
  restart: {<<: *b, restart: unless-stopped, stop_signal: SIGINT}
  logging: {<<: *b, logging: {driver: json-file, options: {max-size: 1m, max-file: "2"}}}
  nolog: {<<: *b, logging: {driver: none}}
  tty: {<<: *b, tty: true, stdin_open: true}
  named: {<<: *b, container_name: a-name-of-its-own}
  scaled: {<<: *b, scale: 3}
  hooks: {<<: *b, post_start: [{command: ["true"]}], pre_stop: [{command: ["true"]}], pre_start: [{command: ["true"]}]}
  built: {command: sleep 1000, init: true, stop_grace_period: 0s, build: {dockerfile_inline: "FROM busybox:latest\nRUN true\n", args: {A: b}, labels: {a: b}}}
  builtnamed: {<<: *b, build: {context: ., dockerfile_inline: "FROM base\nENV X=y\n", additional_contexts: {base: "service:built"}}, image: "mine:1", pull_policy: missing}
  usesbuilt: {<<: *b, image: "mine:1"}
  never: {<<: *b, pull_policy: never}
  profiled: {<<: *b, profiles: [extra]}
  extended: {extends: {service: env}, environment: {D: d}}
  quiet: {<<: *b, attach: false, develop: {watch: [{path: ., action: rebuild}]}}
networks:
  front: {driver_opts: {com.docker.network.driver.mtu: "1400"}, ipam: {config: [{subnet: 10.213.1.0/24, gateway: 10.213.1.1}]}, labels: {a: b}}
  six: {enable_ipv6: true, internal: true}
volumes: {data: {labels: {x: y}}, unused: {}}
configs: {inline: {content: "c ${NOPE:-y}"}, file: {file: ./web.env}}
secrets: {env: {environment: TUTTI_TEST_SECRET}, file: {file: ./web.env}}
`

// A second up must leave everything as it is, and plan must say so: with what compose files typically have, from another
// folder, with images that are built again from the cache, and on another engine.
func TestUpTwice(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.environ = []string{"TUTTI_TEST_SECRET=x"}
	s.timeout = buildTimeout
	s.write("web.env", "X=1\n")
	s.write("bind/file", "")
	s.write("compose.yaml", upTwiceFeatures)
	s.must("up", "-d")
	s.state("job", "exited")
	first := s.runs()
	if len(first) < 40 {
		t.Fatalf("there are %d containers only", len(first))
	}
	again := func(what string, args ...string) {
		t.Helper()
		if r := s.run(append(args, "plan")...); r.code != 0 {
			t.Errorf("%s there is something to change: %s", what, r)
		}
		s.must(append(args, "up", "-d")...)
		if now := s.runs(); !maps.Equal(now, first) {
			t.Errorf("%s the containers were\n%v\nand are\n%v", what, first, now)
		}
	}
	again("at once")
	s.must("up", "-d", "--build", "--wait")
	again("built again")
	file, home := filepath.Join(s.dir, "compose.yaml"), s.dir
	s.dir = filepath.Join(home, "bind")
	again("from another folder", "--file", file)
	s.dir = home
	if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again("on another engine")
	s.must("down", "--volumes", "--timeout", "0")
	s.mustBeEmpty("project")
}

// After an up that has failed, the next one goes on from there: what came up is left alone, what is mended in the file comes
// up, and then nothing is left to do.
func TestUpAfterFailure(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	const text = `
services:
  well: {image: "busybox:latest", command: sleep 1000, init: true, networks: [net], volumes: ["data:/data"]}
  bad:
    image: busybox:latest
    command: sh -c 'touch /well && exec sleep 1000'
    init: true
    networks: [net]
    depends_on: [well]
    healthcheck: {test: test -e /well, interval: 50ms, retries: 10000}
    BAD
  after: {image: "busybox:latest", command: sleep 1000, init: true, networks: [net], depends_on: {bad: {condition: service_healthy}}}
networks: {net: {}}
volumes: {data: {}}
`
	for _, c := range []struct{ name, fault, says string }{
		{"a program that is not there", "entrypoint: /nothing", "/nothing"},
		{"a program that ends", "entrypoint: [sh, -c, 'exit 3']", "3"},
		{"a hook that fails", "post_start: [{command: ['false']}]", "post_start"},
		{"a group that is not there", "group_add: [nobody-knows]", "nobody-knows"},
		{"a folder that is not there", "volumes: [{type: bind, source: ./nothing, target: /x, bind: {create_host_path: false}}]", "nothing"},
		{"an image that is not there", "pull_policy: never\n    platform: linux/s390x", "s390x"},
	} {
		s.write("compose.yaml", strings.Replace(text, "BAD", c.fault, 1))
		r := s.run("up", "-d", "--timeout", "0")
		if r.code == 0 || !strings.Contains(r.stderr, "bad") || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%s: exit code %d: %s", c.name, r.code, r)
		}
		first := s.runs()
		s.write("compose.yaml", strings.Replace(text, "BAD", "stop_signal: SIGTERM", 1))
		p := s.run("plan")
		s.must("up", "-d", "--timeout", "0")
		now := s.runs()
		for id, was := range first {
			if strings.HasPrefix(was.name, "project-well") && now[id] != was {
				t.Errorf("%s: %v was not left alone, it is %v", c.name, was, now[id])
			}
		}
		if left := s.run("plan"); p.code != 2 || left.code != 0 || len(now) != 3 {
			t.Errorf("%s: there are %d containers; before: %s\nafterwards: %s", c.name, len(now), p, left)
		}
		s.must("down", "--timeout", "0")
	}
	s.must("down", "--volumes")
	s.mustBeEmpty("project")
}
