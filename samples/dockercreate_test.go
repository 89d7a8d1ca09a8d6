package samples

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// body asks the engine, which runs, with a JSON body.
func (s *site) body(method, path, body string) (status int, text string) {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", "/run/tutti-"+s.instance()+"/tutti.sock")
	}}}
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://docker/v1.51"+path, bytes.NewReader([]byte(body)))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// create makes a container and returns its id.
func (s *site) create(name, body string) string {
	s.t.Helper()
	status, text := s.body(http.MethodPost, "/containers/create?name="+name, body)
	var made struct {
		ID string `json:"Id"`
	}
	if err := json.Unmarshal([]byte(text), &made); err != nil || status != http.StatusCreated || len(made.ID) != 64 {
		s.t.Fatalf("create %s: %d %s", name, status, text)
	}
	return made.ID
}

// Containers that docker's clients make: each row by its effect inside. They are gone with --rm, with their volumes.
func TestContainersOfDockersClients(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.must("container", "run", "-d", "--name", "keep", "--init", "--network", "none", "busybox", "sleep", "100000")
	defer s.must("container", "rm", "-f", "keep")
	s.must("network", "create", "lan")
	defer s.must("network", "rm", "lan")
	defer s.run("volume", "rm", "data")
	s.must("container", "run", "-d", "--init", "--name", "peer", "--network", "lan", "--network-alias", "friend", "--ipc", "shareable", "-v", "data:/data", "-v", "/own", "busybox", "sleep", "100000")
	defer s.must("container", "rm", "-f", "-v", "peer")
	s.flagSets(t)
	s.askedByClients(t)
	s.hostileBodies(t)
	s.updated(t)
	s.lasts(t)
	if got := s.containerNames(t, "all=1"); got != "peer keep" {
		t.Errorf("left: %s", got)
	}
	if _, text := s.body(http.MethodGet, "/networks", ""); !strings.Contains(text, `"Name":"bridge"`) {
		t.Errorf("networks: %s", text)
	}
	if status, text := s.body(http.MethodPost, "/networks/prune", ""); status != http.StatusOK || strings.Contains(text, "bridge") {
		t.Errorf("pruned: %s", text) // it is docker's own network, which nobody prunes
	}
	if status, text := s.body(http.MethodGet, "/volumes", ""); status != http.StatusOK || strings.Count(text, `"Name"`) != 2 {
		t.Errorf("left: %s", text)
	}
}

// flagSets are flag sets of `container run`, what is executed, its exit code and what it prints.
func (s *site) flagSets(t *testing.T) {
	t.Helper()
	s.write("vars", "# comment\nF=from file\nG=\"quoted\"\n")
	s.write("bound/file", "bound\n")
	for _, row := range []struct {
		flags, script  string
		code           int
		stdout, stderr string // as fits has it
	}{
		{"", "echo out; echo err >&2; exit 7", 7, "=out\n", "=err\n"},
		{"-e A=b -e C --env-file vars --label l=m -w /tmp -u 5:6 --group-add 7", "echo $A$F$G; pwd; id -u; id -g; id -G", 0, "=bfrom file\"quoted\"\n/tmp\n5\n6\n6 7\n", "="},
		{"-h box --domainname example.org --add-host two:10.9.8.7 --dns 192.0.2.9 --dns-search x.org --dns-option ndots:3", "hostname; grep -c two /etc/hosts; cat /etc/resolv.conf", 0, "ndots:3", "="},
		{"-v data:/d:ro -v ./bound:/b --tmpfs /t:size=64k --mount type=tmpfs,dst=/u,tmpfs-mode=700", "cat /b/file; touch /d/x; stat -c %a /u; df -k /t | tail -1 | awk '{print $2}'", 0, "=bound\n700\n64\n", "Read-only"},
		{"--volumes-from peer", "test -d /data && test -d /own && echo both", 0, "=both\n", "="},
		{"--read-only --cap-drop ALL --security-opt no-new-privileges", "touch /x; grep -E 'CapEff|NoNewPrivs' /proc/self/status", 0, "=CapEff:\t0000000000000000\nNoNewPrivs:\t1\n", "Read-only"},
		{"--privileged", "grep CapEff /proc/self/status", 0, "CapEff:\t00000", "="},
		{"--security-opt systempaths=unconfined", "grep -c ' /proc/sys ' /proc/mounts", 1, "=0\n", "="},
		{"--sysctl net.core.somaxconn=99 --ulimit nofile=77:88 --shm-size 1m", "cat /proc/sys/net/core/somaxconn; ulimit -n; ulimit -Hn; df -k /dev/shm | tail -1 | awk '{print $2}'", 0, "=99\n77\n88\n1024\n", "="},
		{"--init", "ps | grep -c tutti-init", 0, "", "="},
		{"--network none", "ls /sys/class/net", 0, "=lo\n", "="},
		{"--network lan --network-alias me --link peer:linked", "nslookup friend >/dev/null && nslookup linked >/dev/null && nslookup me > /dev/null && echo found", 0, "=found\n", "="},
		{"--network lan --network bridge", "", 125, "=", "conflicting options: cannot attach both user-defined and non-user-defined network-modes"},
		{"", "ls /sys/class/net", 0, "=eth0\nlo\n", "="},
		{"--network container:peer --pid container:peer --ipc container:peer", "hostname; ps | grep -c 'sleep 100000'", 0, "", "="},
		{"--network host -p 80:80", "true", 0, "=", "=WARNING: Published ports are discarded when using host network mode\n"},
		{"--entrypoint /bin/echo", "x", 0, "=-c x\n", "="},
		{"-a stdout", "echo out; echo err >&2", 0, "=out\n", "="},
		{"--no-healthcheck --stop-signal INT --stop-timeout 1 --log-driver none --oom-score-adj 500", "cat /proc/self/oom_score_adj", 0, "=500\n", "="},
		{"-m 1m", "true", 125, "=", "minimum memory limit allowed is 6MB"},
		{"--name keep", "true", 125, "=", `=Conflict. The container name "/keep" is already in use by container "`},
		{"--pull never --network nonesuch", "true", 125, "=", "network nonesuch not found"},
		{"--restart always", "true", 125, "=", "conflicting options: cannot specify both --restart and --rm"},
		{"--runtime other", "true", 125, "=", "unknown or invalid runtime name: other"},
		{"--nonsense", "true", 125, "=", "unknown flag: --nonsense"},
		{"-v ..:/x:zz", "true", 125, "=", "invalid mode: zz"},
	} {
		args := append([]string{"container", "run", "--rm"}, strings.Fields(row.flags)...)
		args = append(args, "busybox")
		if strings.Contains(row.flags, "--entrypoint") {
			args = append(args, "-c", row.script)
		} else {
			args = append(args, "sh", "-c", row.script)
		}
		if r := s.run(args...); r.code != row.code || !fits(r.stdout, row.stdout) || !fits(r.stderr, row.stderr) && !strings.HasPrefix(r.stderr, strings.TrimPrefix(row.stderr, "=")) {
			t.Errorf("want exit code %d, %q and %q: code %d %s", row.code, row.stdout, row.stderr, r.code, r)
		}
	}
	for command, code := range map[string]int{"nonesuch": 127, "/etc": 126} {
		if r := s.run("container", "run", "--rm", "busybox", command); r.code != code {
			t.Errorf("want exit code %d: %d %s", code, r.code, r)
		}
		if r := s.run("container", "run", "--rm", "-d", "busybox", command); r.code != code {
			t.Errorf("detached, want exit code %d: %d %s", code, r.code, r)
		}
	}
}

// askedByClients are requests as docker's clients make them, in their order.
func (s *site) askedByClients(t *testing.T) {
	t.Helper()
	if status, text := s.body(http.MethodPost, "/containers/create", `{"Image":"nonesuch:7"}`); status != http.StatusNotFound || !strings.Contains(text, "o such image: nonesuch:7") {
		t.Errorf("without its image: %d %s", status, text)
	}
	if status, text := s.body(http.MethodPost, "/containers/create?platform=linux/s390x", `{"Image":"busybox"}`); status != http.StatusNotFound || !strings.Contains(text, "does not match the specified platform") {
		t.Errorf("of another platform: %d %s", status, text)
	}
	if status, text := s.body(http.MethodPost, "/containers/create?name=keep", `{"Image":"busybox"}`); status != http.StatusConflict || !strings.Contains(text, `Conflict. The container name \"/keep\" is already in use by container`) {
		t.Errorf("of a name that is taken: %d %s", status, text)
	}
	if status, text := s.body(http.MethodPost, "/containers/create?name=a/b", `{"Image":"busybox"}`); status != http.StatusBadRequest || !strings.Contains(text, "Invalid container name (a/b)") {
		t.Errorf("of a bad name: %d %s", status, text)
	}
	id := s.create("", `{"Image":"busybox","Cmd":["sh","-c","echo hello; exit 3"],"AttachStdout":true,"Volumes":{"/anon":{}},"MacAddress":"02:42:ac:11:65:43",
		"HostConfig":{"AutoRemove":true,"Memory":33554432,"CpuCount":2,"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"0"}]}},"NetworkingConfig":{"EndpointsConfig":{"default":{}}}}`)
	var j struct {
		Name       string
		Config     struct{ Labels map[string]string }
		HostConfig struct{ Memory, MemorySwap int64 }
		Mounts     []struct{ Name string }
	}
	_, text := s.body(http.MethodGet, "/containers/"+id+"/json", "")
	if err := json.Unmarshal([]byte(text), &j); err != nil || strings.Count(j.Name, "_") != 1 || len(j.Config.Labels) > 0 || j.HostConfig.MemorySwap != 64<<20 || len(j.Mounts) != 1 {
		t.Errorf("%+v, %v", j, err)
	}
	waited := make(chan string, 1)
	waiting := make(chan struct{})
	go func() { waited <- s.waitRemoved(id, waiting) }()
	<-waiting
	if status, text := s.body(http.MethodPost, "/containers/"+id+"/start", ""); status != http.StatusNoContent {
		t.Errorf("start: %d %s", status, text)
	}
	if got := <-waited; !strings.Contains(got, `"StatusCode":3`) {
		t.Errorf("wait: %s", got)
	}
	if status, _ := s.body(http.MethodGet, "/containers/"+id+"/json", ""); status != http.StatusNotFound {
		t.Errorf("it is still there: %d", status)
	}
	if status, _ := s.body(http.MethodGet, "/volumes/"+j.Mounts[0].Name, ""); status != http.StatusNotFound {
		t.Errorf("its volume is still there: %d", status)
	}
}

// waitRemoved waits until a container is gone, and returns the answer. waiting is closed when the wait has begun.
func (s *site) waitRemoved(id string, waiting chan struct{}) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", "/run/tutti-"+s.instance()+"/tutti.sock")
	}}}
	defer func() {
		select {
		case <-waiting:
		default:
			close(waiting)
		}
	}()
	resp, err := client.Post("http://docker/containers/"+id+"/wait?condition=removed", "application/json", nil)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	close(waiting)
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

// hostileBodies get 400 with a message, and leave nothing.
func (s *site) hostileBodies(t *testing.T) {
	t.Helper()
	deep := strings.Repeat(`{"a":`, 20000)
	for name, body := range map[string]string{
		"empty": `{}`, "nothing": ``, "no JSON": `{"Image":`, "an array": `[]`, "deep": `{"Image":"busybox","Labels":` + deep, "wrong type": `{"Image":"busybox","Tty":"yes"}`,
		"wrong type below": `{"Image":"busybox","HostConfig":{"Binds":{"a":1}}}`, "no port": `{"Image":"busybox","ExposedPorts":{"x":{}}}`, "no address": `{"Image":"busybox","HostConfig":{"Dns":["x"]}}`,
		"huge number": `{"Image":"busybox","HostConfig":{"Memory":1e99}}`, "NUL": `{"Image":"busybox","Cmd":["a\u0000b"]}`, "volume's name": `{"Image":"busybox","HostConfig":{"Binds":["../../etc:/a"]}}`,
		"many mounts": `{"Image":"busybox","HostConfig":{"Binds":["/0:/0"` + strings.Repeat(`,"/a:/b"`, 100_000) + `]}}`, "many values": `{"Image":"busybox","Env":["A=b"` + strings.Repeat(`,"A=b"`, 300_000) + `]}`,
		"a device that is none": `{"Image":"busybox","HostConfig":{"Devices":[{"PathOnHost":"/nonesuch","PathInContainer":"/dev/x","CgroupPermissions":"rwm"}]}}`,
		"a signal that is none": `{"Image":"busybox","StopSignal":"SIGNONE"}`, "a limit that is none": `{"Image":"busybox","HostConfig":{"Ulimits":[{"Name":"x","Soft":1,"Hard":1}]}}`,
		"a volume of another driver": `{"Image":"busybox","HostConfig":{"Mounts":[{"Type":"volume","Source":"new","Target":"/a","VolumeOptions":{"DriverConfig":{"Options":{"type":"x"}}}}]}}`,
		"an address elsewhere":       `{"Image":"busybox","HostConfig":{"NetworkMode":"lan"},"NetworkingConfig":{"EndpointsConfig":{"lan":{"IPAMConfig":{"IPv4Address":"203.0.113.1"}}}}}`,
		"a capability that is none":  `{"Image":"busybox","HostConfig":{"CapAdd":["NONE_SUCH"]}}`, "a sysctl of the host's": `{"Image":"busybox","HostConfig":{"Sysctls":{"kernel.panic":"1"}}}`,
	} {
		if status, text := s.body(http.MethodPost, "/containers/create?name=hostile", body); status != http.StatusBadRequest || !strings.Contains(text, `"message":"`) {
			t.Errorf("%s: %d %.300s", name, status, text)
		}
	}
	if status, _ := s.body(http.MethodPost, "/containers/create", `{"Image":"busybox","Labels":{"a":"`+strings.Repeat("x", 17<<20)+`"}}`); status != http.StatusBadRequest {
		t.Errorf("huge: %d", status)
	}
	if status, text := s.body(http.MethodPost, "/containers/keep/update", `{"Ulimits":[{"Name":"nofile","Soft":1,"Hard":1}]}`); status != http.StatusBadRequest || !strings.Contains(text, "Ulimits cannot be updated") {
		t.Errorf("update of what cannot be: %d %s", status, text)
	}
}

// updated: limits change in the cgroup of a running container.
func (s *site) updated(t *testing.T) {
	t.Helper()
	if got := s.must("container", "update", "--pids-limit", "77", "--restart", "on-failure:2", "keep"); got != "keep\n" {
		t.Errorf("update prints %q", got)
	}
	if r := s.run("container", "update", "keep"); r.code != 1 || !strings.Contains(r.stderr, "you must provide one or more flags") {
		t.Error(r)
	}
	if got := s.limitOf("keep"); got != "77" {
		t.Errorf("pids.max is %s", got)
	}
}

// limitOf is the limit of processes that the kernel has for a container.
func (s *site) limitOf(name string) string {
	s.t.Helper()
	return strings.TrimSpace(s.must("container", "exec", name, "sh", "-c", "cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max"))
}

// lasts: what a client made and changed is as it was after the engine's death, and after a restart.
func (s *site) lasts(t *testing.T) {
	t.Helper()
	attached := s.start("container", "run", "--rm", "--name", "attached", "busybox", "sh", "-c", `trap "echo asked; exit 9" TERM; echo ready; while :; do sleep 0.05; done`)
	attached.until("ready\n")
	for _, pid := range s.engines() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // gone by itself: as well
	}
	for what, want := range map[string]string{
		"{{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}} {{.State.Status}}": "77 on-failure:2 running",
		"{{.HostConfig.NetworkMode}} {{.Config.Image}} {{.HostConfig.Init}}":                                                             "none busybox true",
	} {
		if got := strings.TrimSpace(s.must("container", "inspect", "-f", what, "keep")); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	attached.signal(syscall.SIGTERM)
	if r := attached.wait(); r.code != 9 || r.stdout != "ready\nasked\n" {
		t.Errorf("exit code %d: %s", r.code, r)
	}
	s.must("container", "restart", "-t", "0", "keep")
	if got := s.limitOf("keep"); got != "77" {
		t.Errorf("after a restart pids.max is %s", got)
	}
	eventually(t, commandTimeout, func() error {
		if got := s.containerNames(t, "all=1"); got != "peer keep" {
			return errors.New(fmt.Sprint("there are ", got))
		}
		return nil
	})
}
