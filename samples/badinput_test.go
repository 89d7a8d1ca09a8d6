package samples

import (
	"net"
	"regexp"
	"strings"
	"testing"
)

// A compose file that cannot be brought up must end `up` with an exit code other than 0 and one message that names
// file and line or service, and must leave nothing behind.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	var listener net.Listener
	err := s.host.in(s.host.pid, func() (err error) {
		listener, err = net.Listen("tcp", "0.0.0.0:8081")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	for _, c := range []struct {
		name, file string
		want       string // a regular expression of the message
	}{
		{"not YAML", "services:\n  web: [\n", `compose\.yaml:\d+`},
		{"a list", "- services\n", `compose\.yaml`},
		{"binary", "\x00\x01\x02", `compose\.yaml`},
		{"empty", "", `compose\.yaml`},
		{"no services", "networks:\n  one:\n", `no service`},
		{"unknown key", "services:\n  web:\n    image: busybox\n    imagee: x\n", `(compose\.yaml:4|web).*imagee`},
		{"unknown top-level key", "service:\n  web:\n    image: busybox\n", `compose\.yaml.*service`},
		{"duplicate key", "services:\n  web:\n    image: busybox\n    image: alpine\n", `compose\.yaml:4`},
		{"wrong type", "services:\n  web:\n    image: busybox\n    ports: 80\n", `(compose\.yaml:4|web).*ports`},
		{
			"cycle", "services:\n  a: {image: busybox, depends_on: [b]}\n  b: {image: busybox, depends_on: [c]}\n  c: {image: busybox, depends_on: [a]}\n",
			`a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c`,
		},
		{"unknown dependency", "services:\n  web: {image: busybox, depends_on: [db]}\n", `web.*db`},
		{"undefined network", "services:\n  web: {image: busybox, networks: [nowhere]}\n", `web.*nowhere`},
		{"undefined volume", "services:\n  web: {image: busybox, volumes: [\"data:/data\"]}\n", `web.*data`},
		{"undefined secret", "services:\n  web: {image: busybox, secrets: [key]}\n", `web.*key`},
		{"neither image nor build", "services:\n  web: {command: sleep 1}\n", `web.*image`},
		{"missing image", "services:\n  web: {image: \"registry.invalid/nothing:1\"}\n", `registry\.invalid/nothing:1`},
		{"invalid image name", "services:\n  web: {image: \"Not A Name\"}\n", `web`},
		{"port out of range", "services:\n  web: {image: busybox, ports: [\"99999:80\"]}\n", `(compose\.yaml:\d|web).*99999`},
		{"port no number", "services:\n  web: {image: busybox, ports: [\"http:80\"]}\n", `(compose\.yaml:\d|web).*http`},
		{"taken port", "services:\n  web: {image: busybox, command: sleep 1000, ports: [\"8081:80\"]}\n", `web.*8081`},
		{"one port twice", "services:\n  web: {image: busybox, command: sleep 1000, ports: [\"8082:80\"]}\n  api: {image: busybox, command: sleep 1000, ports: [\"8082:80\"]}\n", `(web|api).*8082`},
		{"missing variable", "services:\n  web:\n    image: busybox\n    command: sleep ${HOW_LONG:?say how long}\n", `HOW_LONG.*say how long`},
		{"invalid interpolation", "services:\n  web:\n    image: busybox\n    command: sleep ${HOW\n", `(compose\.yaml:4|web)`},
		{"missing build context", "services:\n  web: {build: ./nowhere}\n", `web.*nowhere`},
		{"missing Dockerfile", "services:\n  web: {build: {context: ., dockerfile: No.Dockerfile}}\n", `web.*No\.Dockerfile`},
		{"missing env_file", "services:\n  web: {image: busybox, env_file: [no.env]}\n", `no\.env`},
		{"network of an unknown service", "services:\n  web: {image: busybox, command: sleep 1000, network_mode: \"service:db\"}\n", `web.*db`},
		{"invalid duration", "services:\n  web: {image: busybox, stop_grace_period: soon}\n", `(compose\.yaml:\d|web).*`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.in(t)
			s.write("compose.yaml", c.file)
			r := s.run("-p", "bad", "up", "-d")
			if r.code == 0 {
				t.Errorf("exit code 0: %s", r)
			}
			if !regexp.MustCompile(c.want).MatchString(r.stderr) {
				t.Errorf("the message does not match %q: %s", c.want, r)
			}
			for _, word := range []string{"panic", "goroutine ", "%!"} {
				if strings.Contains(r.stderr, word) {
					t.Errorf("the message holds %q: %s", word, r)
				}
			}
			s.mustBeEmpty("bad")
			s.run("-p", "bad", "down", "-t", "0") // of what was left, so that the next case is not blamed
		})
	}
}

// A container that cannot be started stays, so that it can be looked at, but nothing may run, and what waits for it
// must not be started.
func TestProgramThatCannotStart(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	for name, attributes := range map[string]string{
		"no-such-program":    "command: [no-such-program]",
		"not-executable":     "command: [/etc/passwd]",
		"no-such-user":       "user: no-such-user, command: sleep 1000",
		"no-such-entrypoint": "entrypoint: [/no-such-entrypoint], command: sleep 1000",
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.write("compose.yaml", "services:\n  web: {image: busybox, "+attributes+"}\n  next: {image: busybox, command: sleep 1000, depends_on: [web]}\n")
			r := s.run("-p", "bad", "up", "-d")
			if r.code == 0 || !strings.Contains(r.stderr, "web") {
				t.Errorf("exit code %d, want a message about web: %s", r.code, r)
			}
			if running := s.must("-p", "bad", "ps", "--format", "{{.Name}}\n"); running != "" {
				t.Errorf("runs all the same: %s", running)
			}
			s.must("-p", "bad", "down")
			s.mustBeEmpty("bad")
		})
	}
}

// mustBeEmpty fails when a project has containers, networks or volumes.
func (s *site) mustBeEmpty(project string) {
	s.t.Helper()
	for _, c := range []struct{ kind, names string }{
		{"container", s.must("container", "ls", "--all", "--format", "{{.Names}}")},
		{"network", s.must("network", "ls", "--format", "{{.Name}}")},
		{"volume", s.must("volume", "ls", "--format", "{{.Name}}")},
	} {
		for name := range strings.FieldsSeq(c.names) {
			if strings.HasPrefix(name, project+"_") || strings.HasPrefix(name, project+"-") {
				s.t.Errorf("left behind: %s %s", c.kind, name)
			}
		}
	}
}

// A command line that makes no sense must say so too.
func TestBadCommandLine(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", "services:\n  web: {image: busybox, command: sleep 1000}\n")
	for _, c := range []struct {
		args, want string
	}{
		{"upp", `upp`},
		{"up --no-such-flag", `no-such-flag`},
		{"up nobody", `nobody`},
		{"-f no.yaml up", `no\.yaml`},
		{"-p Not/A/Name up", `Not/A/Name`},
		{"--env-file no.env up", `no\.env`},
		{"exec web true", `web`},
		{"exec nobody true", `nobody`},
		{"logs nobody", `nobody`},
		{"stop nobody", `nobody`},
		{"config --format xml", `xml`},
		{"up -t soon", `soon`},
	} {
		t.Run(c.args, func(t *testing.T) {
			r := s.in(t).run(strings.Fields(c.args)...)
			if r.code == 0 || !regexp.MustCompile(c.want).MatchString(r.stderr) {
				t.Errorf("exit code %d: %s", r.code, r)
			}
		})
	}
	s.mustBeEmpty("project")
}

// Without any compose file the message must say what was looked for.
func TestNoComposeFile(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	r := s.run("up")
	if r.code == 0 || !strings.Contains(r.stderr, "no configuration file provided") && !strings.Contains(r.stderr, "compose.yaml") {
		t.Errorf("exit code %d: %s", r.code, r)
	}
}
