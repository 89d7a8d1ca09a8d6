package compare

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const answerSection = "docker's command line on tutti's socket"

// question is a command of docker's command line, asked of both.
type question struct {
	args  []string
	stdin string
	kind  kind
}

// kind is what is compared of the answers.
type kind int

const (
	exactly   kind = iota // all that is said, but for ids, times and sizes
	labels                // the words in front of colons
	unordered             // ... in whatever order the lines are
)

// ask splits a command at its spaces; quotes keep a word together.
func ask(line string) question {
	var args []string
	for _, m := range words.FindAllStringSubmatch(line, -1) {
		args = append(args, m[1]+m[2])
	}
	return question{args: args}
}

var words = regexp.MustCompile(`'([^']*)'|(\S+)`)

func (q question) with(stdin string) question { q.stdin = stdin; return q }
func (q question) by(k kind) question         { q.kind = k; return q }

// TestAnswers asks both with docker's own command line, about the same objects, in the same order.
func TestAnswers(t *testing.T) {
	dir := t.TempDir()
	client := &peer{
		name: "docker", command: []string{"docker"}, socket: both.tutti.socket,
		env: append(append([]string{}, both.docker.env...), "DOCKER_HOST=unix://"+both.tutti.socket),
	}
	makeObjects(t, dir)
	for _, q := range questions(dir) {
		name := strings.ReplaceAll(strings.Join(q.args, " "), dir, "DIR")
		r := newRow(t, answerSection, name)
		docker := both.docker.runWith(t, input{dir: dir, stdin: strings.NewReader(q.stdin)}, q.args...)
		tutti := client.runWith(t, input{dir: dir, stdin: strings.NewReader(q.stdin)}, q.args...)
		r.equal("exit code", itoa(docker.code), itoa(tutti.code))
		r.equal("output", q.normal(docker.stdout), q.normal(tutti.stdout))
		r.equal("message", strings.ToLower(q.normal(docker.stderr)), strings.ToLower(q.normal(tutti.stderr)))
		r.end()
	}
}

// makeObjects makes the same little set of objects in both.
func makeObjects(t *testing.T, dir string) {
	t.Helper()
	const script = `trap "exit 0" TERM; echo hello; echo oops >&2; touch /made; rm /bin/wget; tail -f /dev/null & wait $!`
	file := filepath.Join(dir, "compose.yaml")
	if err := os.WriteFile(file, []byte(`
name: cmp
services:
  web:
    {image: busybox, container_name: cmp-web, command: [sh, -c, '`+strings.ReplaceAll(script, "$", "$$")+`'], ports: ["127.0.0.1:8123:80", "53/udp"], volumes: ["data:/data", "./:/here:ro"],
     labels: {kind: web, role: "a b"}, environment: {A: "1"}, working_dir: /tmp, restart: unless-stopped, hostname: web, stop_signal: SIGTERM, mem_limit: 64m, networks: {net: {aliases: [www]}}}
  keep: {image: busybox, container_name: cmp-keep, command: sleep 100000, init: true, network_mode: none}
  job: {image: busybox, container_name: cmp-job, command: [sh, -c, "echo done; exit 3"], labels: {kind: job}, network_mode: none}
networks: {net: {name: cmp_net, labels: {kind: net}, ipam: {config: [{subnet: 10.213.7.0/24}]}}}
volumes: {data: {name: cmp_data, labels: {kind: data}}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"web", "keep", "job"} { // in this order: lists have the newest first
		both.tutti.must(t, "-f", file, "up", "-d", service)
	}
	both.tutti.run(t, "-f", file, "wait", "job") // its code is the job's
	d := both.docker
	d.must(t, "network", "create", "--label", "kind=net", "--subnet", "10.213.7.0/24", "cmp_net")
	d.must(t, "volume", "create", "--label", "kind=data", "cmp_data")
	d.must(t, "run", "-d", "--name", "cmp-web", "-p", "127.0.0.1:8123:80", "-p", "53/udp", "-v", "cmp_data:/data", "-v", dir+":/here:ro", "--label", "kind=web", "--label", "role=a b", "-e", "A=1",
		"-w", "/tmp", "--restart", "unless-stopped", "--hostname", "web", "--stop-signal", "SIGTERM", "-m", "64m", "--network", "cmp_net", "--network-alias", "www", "busybox", "sh", "-c", script)
	d.must(t, "run", "-d", "--name", "cmp-keep", "--init", "--network", "none", "busybox", "sleep", "100000")
	d.run(t, "run", "--name", "cmp-job", "--label", "kind=job", "--network", "none", "busybox", "sh", "-c", "echo done; exit 3")
	cleanContainers(t, "cmp", file, "cmp-web", "cmp-job", "cmp-keep")
	deadline := time.Now().Add(30 * time.Second)
	for d.run(t, "exec", "cmp-web", "test", "-e", "/made").code != 0 && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
}

// volatile is what two answers differ in by nature, in this order.
var volatile = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`sha256:[0-9a-f]{64}`), "DIGEST"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "ID"},
	{regexp.MustCompile(`\b(sha256:)?[0-9a-f]{12}\b`), "ID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d\d:?\d\d))?( [A-Z]{3,4})?`), "TIME"},
	{regexp.MustCompile(`(About an? |Less than a )?(\d+ )?(second|minute|hour|day|week|month)s?( ago)?`), "AGO"},
	{regexp.MustCompile(`\d+(\.\d+)?(e[+-]?\d+)? ?[kKMGT]?i?B\b( \(\d+%\))?`), "SIZE"},
	{regexp.MustCompile(`\d+(\.\d+)?%`), "PERCENT"},
	{regexp.MustCompile(`([0-9a-f]{2}:){5}[0-9a-f]{2}`), "MAC"},
	{regexp.MustCompile(`\b(3[2-9]|[456]\d)\d{3}\b`), "PORT"},
	{regexp.MustCompile(`\d\d:\d\d:?\d?\d?\b`), "CLOCK"},
	{regexp.MustCompile(`[ \t]{2,}`), "  "},
	{regexp.MustCompile(`(?m) +$`), ""},
}

// numbers are the processes' in answers of top.
var numbers = regexp.MustCompile(`\b\d+\b`)

// normal is an answer without what differs by nature.
func (q question) normal(text string) string {
	if q.args[0] == "top" {
		text = numbers.ReplaceAllString(text, "N")
	}
	if q.kind == labels {
		var b strings.Builder
		for line := range strings.Lines(text) {
			word, _, _ := strings.Cut(strings.TrimRight(line, "\n"), ":")
			b.WriteString(word + "\n")
		}
		return b.String()
	}
	text = strings.ReplaceAll(text, "/home/", "")
	for _, v := range volatile {
		text = v.pattern.ReplaceAllString(text, v.with)
	}
	text = strings.TrimSpace(text)
	if q.kind == unordered {
		lines := strings.Split(text, "\n")
		slices.Sort(lines)
		text = strings.Join(lines, "\n")
	}
	return text
}
