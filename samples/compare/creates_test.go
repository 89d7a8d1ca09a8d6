package compare

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const createSection = "containers made by flags"

// createRows are flags of docker create, and what is executed. What inspect says of the containers is compared.
var createRows = []string{
	"busybox", "busybox echo one two", "--entrypoint /bin/echo busybox x", "--entrypoint '' busybox echo", "-it busybox sh", "-i busybox cat", "-t busybox sh", "-a stdout busybox true",
	"-e A=b busybox env", "-l x=y --label z busybox true", "-u 5:6 -w /tmp --group-add 7 busybox id", "-h box --domainname example.org busybox true",
	"-p 80 -p 8080:81 -p 127.0.0.1:8082:82/udp busybox true", "-p 9000-9002:90-92 busybox true", "-P --expose 83 --expose 84-85/udp busybox true",
	"-v cr_data:/d -v cr_data:/e:ro -v /tmp:/t busybox true", "-v /anon busybox true", "--mount type=bind,src=/tmp,dst=/t,ro --mount type=volume,src=cr_data,dst=/d,volume-nocopy busybox true",
	"--mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700 busybox true", "--tmpfs /t:size=1m,noexec busybox true", "--volumes-from cr-peer:ro busybox true", "--read-only busybox true",
	"--rm busybox true", "--restart on-failure:3 busybox true", "--restart unless-stopped busybox true", "-m 64m --memory-reservation 32m busybox true", "-m 64m --memory-swap -1 --memory-swappiness 5 busybox true",
	"--cpus 0.5 busybox true", "--cpu-period 50000 --cpu-quota 25000 -c 512 --cpuset-cpus 0 busybox true", "--pids-limit 50 --oom-score-adj 5 busybox true", "--pids-limit -1 busybox true", "--blkio-weight 300 busybox true",
	"--cap-add net_admin --cap-add SYS_TIME --cap-drop CHOWN busybox true", "--cap-add ALL busybox true", "--privileged busybox true", "--security-opt no-new-privileges --security-opt seccomp=unconfined busybox true",
	"--security-opt systempaths=unconfined busybox true", "--sysctl net.core.somaxconn=9 --ulimit nofile=8:9 --ulimit core=0 busybox true", "--device /dev/null:/dev/x:r --device-cgroup-rule 'c 1:3 r' busybox true",
	"--network none busybox true", "--network host busybox true", "--network container:cr-peer busybox true", "--network cr_net --network-alias www --ip 10.214.7.9 busybox true", "--mac-address 02:42:ac:11:65:43 busybox true",
	"--link cr-peer:friend busybox true", "--dns 192.0.2.9 --dns-search x.org --dns-option ndots:3 --add-host two:10.9.8.7 busybox true", "--pid host --ipc host --uts host busybox true", "--ipc shareable --shm-size 1m busybox true",
	"--pid container:cr-peer busybox true", "--health-cmd 'true' --health-interval 3s --health-retries 2 --health-timeout 1s --health-start-period 4s busybox true", "--no-healthcheck busybox true",
	"--init --stop-signal INT --stop-timeout 3 busybox true", "--log-driver none busybox true", "--log-opt max-size=1m --log-opt max-file=2 busybox true", "--cgroup-parent /cr busybox true", "--name cr/bad busybox true",
	"-m 1m busybox true", "--network cr_none busybox true", "--volumes-from cr_none busybox true", "-v ../x:/y:zz busybox true", "--runtime other busybox true", "--rm --restart always busybox true", "--cpus 0.5 --cpu-quota 5000 busybox true",
}

// TestCreates makes containers of the same flags with docker's command line on both engines, and with tutti's own, and compares
// what inspect says of them.
func TestCreates(t *testing.T) {
	both.tutti.must(t, "container", "run", "-d", "--name", "cr-keep", "--init", "--network", "none", "busybox", "sleep", "100000")
	both.tutti.atEnd(t, "container", "rm", "-f", "cr-keep") // the last: the engine stays for the others
	there := &peer{
		name: "docker on tutti", command: []string{"docker"}, socket: both.tutti.socket,
		env: append(append([]string{}, both.docker.env...), "DOCKER_HOST=unix://"+both.tutti.socket),
	}
	for _, p := range []*peer{both.docker, there} {
		p.must(t, "network", "create", "--subnet", "10.214.7.0/24", "cr_net")
		p.atEnd(t, "network", "rm", "cr_net")
		p.atEnd(t, "volume", "rm", "cr_data")
		p.must(t, "run", "-d", "--init", "--name", "cr-peer", "-v", "/own", "busybox", "sleep", "100000")
		p.atEnd(t, "rm", "-f", "-v", "cr-peer")
	}
	for _, line := range createRows {
		r := newRow(t, createSection, line)
		docker := made(t, both.docker, line)
		compareMade(r, "", docker, made(t, there, line))
		compareMade(r, "tutti's command: ", docker, made(t, both.tutti, "container "+line))
		r.end()
	}
}

// made is what inspect says of a container that flags have made, field by field, or the error.
func made(t *testing.T, p *peer, line string) map[string]string {
	t.Helper()
	q := ask(line)
	var prefix []string
	if q.args[0] == "container" {
		prefix, q.args = q.args[:1], q.args[1:]
	}
	c := p.run(t, append(append(append([]string{}, prefix...), "create"), q.args...)...)
	if c.code != 0 {
		return map[string]string{"exit code": itoa(min(c.code, 1)), "error": "there"}
	}
	id := strings.TrimSpace(c.stdout)
	defer p.must(t, append(append([]string{}, prefix...), "rm", "-v", id)...)
	var list []map[string]any
	text := p.must(t, append(append([]string{}, prefix...), "inspect", id)...)
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 1 {
		t.Fatalf("%s: %v %s", line, err, text)
	}
	if host, ok := list[0]["HostConfig"].(map[string]any); ok {
		if binds, ok := host["Binds"].([]any); ok { // docker's command line sends them in no order
			slices.SortFunc(binds, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	}
	fields := map[string]string{"exit code": "0"}
	for _, section := range []string{"Config", "HostConfig", "Path", "Args", "Mounts"} {
		flatten(fields, section, list[0][section], id)
	}
	return fields
}

// flatten writes the fields of a value that say something.
func flatten(to map[string]string, path string, v any, id string) {
	switch v := v.(type) {
	case map[string]any:
		if path == "Config" || path == "HostConfig" {
			for key, below := range v {
				flatten(to, path+"."+key, below, id)
			}
			return
		}
	case nil:
		return
	}
	if v == nil || reflect.ValueOf(v).IsZero() {
		return
	}
	text, err := json.Marshal(v)
	if err != nil {
		to[path] = err.Error()
		return
	}
	s := strings.ReplaceAll(string(text), id[:12], "OWN")
	if s == "[]" || s == "{}" || s == "[0,0]" {
		return
	}
	for _, x := range volatile[:3] {
		s = x.pattern.ReplaceAllString(s, x.with)
	}
	to[path] = s
}

func compareMade(r *row, prefix string, docker, tutti map[string]string) {
	for _, path := range sorted(docker) {
		r.equal(prefix+path, docker[path], tutti[path])
	}
	for _, path := range sorted(tutti) {
		if _, ok := docker[path]; !ok {
			r.equal(prefix+path, "", tutti[path])
		}
	}
}
