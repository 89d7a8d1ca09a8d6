package project_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tutti/project"
)

// write makes a project directory of the given files and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What the engine says of a file is shortened where the command runs.
func TestShortenPosition(t *testing.T) {
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for message, want := range map[string]string{
		cwd + "/a/f.yaml:3: service \"a\": x": "a/f.yaml:3: service \"a\": x",
		"/nowhere/f.yaml:3: x":                "/nowhere/f.yaml:3: x",
		cwd + "/f.yaml: no line":              cwd + "/f.yaml: no line",
		"f.yaml:3: x":                         "f.yaml:3: x",
		"service \"a\": build failed":         "service \"a\": build failed",
		"":                                    "",
	} {
		if got := project.ShortenPosition(message); got != want {
			t.Errorf("%q becomes %q, want %q", message, got, want)
		}
	}
}

// Every kind of bad input is one line that names the file and, but for few, the line.
func TestErrorsNameTheLine(t *testing.T) {
	const web = "services:\n  web:\n    image: a\n"
	for _, c := range []struct{ name, file, want string }{
		{"bad YAML", web + "   foo: [1\n", `f.yaml:4: this is not valid YAML: did not find expected key`},
		{"tabs", "services:\n\tweb:\n", `f.yaml:2: this is not valid YAML: found character that cannot start any token`},
		{"binary", "\x00\x01", `f.yaml: this is not valid YAML: control characters are not allowed`},
		{"no UTF-8", "services:\n  web:\n    image: \xff\n", `f.yaml: this is not valid YAML: invalid leading UTF-8 octet`},
		{"a list", "- a\n", `f.yaml: this is no compose file`},
		{"a text", "hello\n", `f.yaml: this is no compose file`},
		{"empty", "# nothing\n", `f.yaml: the file is empty`},
		{"a key twice", web + "    image: b\n", "f.yaml:4: the key `image` is already written on line 3"},
		{"a list as key", web + "    environment:\n      ? [a]\n      : b\n", "f.yaml:5: a key is a list or mapping"},
		{"unknown key", web + "    restrat: always\n", "f.yaml:4: service \"web\": unknown key `restrat` — did you mean `restart`?"},
		{"unknown key deep", web + "    healthcheck:\n      tests: a\n", "f.yaml:5: service \"web\": unknown key `tests` — did you mean `test`?"},
		{"unknown top key", "service:\n  web: {image: a}\nx-y: 1\n", "f.yaml:1: unknown key `service` — did you mean `services`?"},
		{"key of format 1", web + "    net: host\n", "f.yaml:4: service \"web\": unknown key `net` — this key of file format 1 is written `network_mode` now"},
		{"bad service name", "services:\n  \"we b\": {image: a}\n", "f.yaml:2: service \"we b\": `we b` is no name for a service"},
		{"wrong type", "services:\n  web:\n    image: [a]\n", `f.yaml:3: service "web": image must be a string`},
		{"no mapping", "services:\n  web: text\n", `f.yaml:2: service "web": services.web must be a mapping`},
		{"no number", web + "    cpus: abc\n", `f.yaml:4: service "web": cpus is "abc", which is not of the right type`},
		{"bad size", web + "    mem_limit: 1x\n", `f.yaml:4: service "web": mem_limit invalid suffix: 'x'`},
		{"bad duration", web + "    healthcheck: {interval: abc}\n", `f.yaml:4: service "web": healthcheck.interval time: invalid duration "abc"`},
		{"bad restart", web + "    restart: sometimes\n", `f.yaml:4: service "web": "sometimes" is no restart policy`},
		{"bad image", "services:\n  web:\n    image: \"Foo Bar:\"\n", `f.yaml:3: service "web": "Foo Bar:" is no image`},
		{"no image", "services:\n  web:\n    command: a\n", "f.yaml:2: service \"web\": it has neither an image nor a build section"},
		{"name server", web + "    dns: [1.1.1.1, 1.2.3.x]\n", `f.yaml:4: service "web": its name server "1.2.3.x" is no address`},
		{"extra host", web + "    extra_hosts: [\"a:host-gateway\", \"b:::1\", \"c:localhost\"]\n", `f.yaml:4: service "web": its extra host "c" has "localhost" for an address`},
		{"port text", web + "    ports:\n      - \"80:80\"\n      - \"abc:80\"\n", `f.yaml:6: service "web": Invalid hostPort: abc`},
		{"port number", web + "    ports:\n      - \"99999:80\"\n", `f.yaml:5: service "web": Invalid hostPort: 99999`},
		{"port long", web + "    ports:\n      - target: 99999\n", `f.yaml:5: service "web": 99999 is no port`},
		{"port protocol", web + "    ports:\n      - \"80:80/xyz\"\n", `f.yaml:5: service "web": Invalid proto: xyz`},
		{"port published", web + "    ports:\n      - {target: 80, published: x}\n", `f.yaml:5: service "web": "x" is no host port`},
		{"port range of unequal lengths", web + "    ports:\n      - \"8000-8005:80-82\"\n", `f.yaml:5: service "web": Invalid ranges specified for container and host Ports: 80-82 and 8000-8005`},
		{"port range reversed", web + "    ports:\n      - \"8010-8000:80-90\"\n", `f.yaml:5: service "web": Invalid hostPort: 8010-8000`},
		{"port range reversed, long", web + "    ports:\n      - {target: 80, published: 8010-8000}\n", `f.yaml:5: service "web": "8010-8000" is no host port`},
		{"port 0", web + "    ports: [\"80:0\"]\n", `f.yaml:4: service "web": service ports services.web.ports.[0] is missing a target port`},
		{"port 0, long", web + "    ports:\n      - {target: 0, published: 80}\n", `f.yaml:5: service "web": 0 is no port`},
		{"port 70000", web + "    ports: [\"80:70000\"]\n", `f.yaml:4: service "web": Invalid containerPort: 70000`},
		{"port published 70000, long", web + "    ports:\n      - {target: 80, published: 70000}\n", `f.yaml:5: service "web": "70000" is no host port`},
		{"port host_ip", web + "    ports: [\"300.1.1.1:80:80\"]\n", `f.yaml:4: service "web": Invalid ip address: 300.1.1.1`},
		{"port host_ip, long", web + "    ports:\n      - {target: 80, host_ip: 1.2.3}\n", `f.yaml:4: service "web": ports.[]: invalid ip address: 1.2.3`},
		{"port mode", web + "    ports:\n      - {target: 80, mode: swarm}\n", `f.yaml:5: service "web": "swarm" is no mode of a port — use host or ingress`},
		{"port twice", web + "    ports:\n      - \"80:80\"\n      - \"127.0.0.1:80:81\"\n", `f.yaml:6: service "web": the port 80/tcp of the host is published twice, for port 80 and port 81`},
		{"port firewall", web + "    ports:\n      - {target: 80, x-firewall: closed}\n", "f.yaml:5: service \"web\": `x-firewall`: closed is not known — write `open`"},
		{"service firewall", web + "    x-firewall: [a]\n", "f.yaml:4: service \"web\": `x-firewall`: [a] is not known"},
		{"project firewall", "x-firewall: shut\n" + web, "f.yaml:1: service \"web\": `x-firewall`: shut is not known"},
		{"required variable", "services:\n  web:\n    image: ${TAG:?please set TAG}\n", `f.yaml:3: service "web": the required variable TAG is not set: please set TAG — set it in the environment or in .env`},
		{"variable syntax", "services:\n  web:\n    image: ${TAG\n", `f.yaml:3: service "web": invalid variable syntax in ${TAG`},
		{"undefined network", web + "    networks:\n      - front\n", `f.yaml:5: service "web": it uses the network "front", which is not defined`},
		{"undefined volume", web + "    volumes:\n      - data:/x\n", `f.yaml:5: service "web": it uses the volume "data", which is not defined`},
		{"undefined secret", web + "    secrets:\n      - s\n", `f.yaml:5: service "web": it uses the secret "s", which is not defined`},
		{"undefined config", web + "    configs:\n      - s\n", `f.yaml:5: service "web": it uses the config "s", which is not defined`},
		{"undefined dependency", web + "    depends_on:\n      - db\n", `f.yaml:5: service "web": it depends on "db", which is not defined — the services are: web`},
		{"disabled dependency", web + "    depends_on: [db]\n  db: {image: a, profiles: [x]}\n", `f.yaml:4: service "web": it depends on "db", which none of the active profiles enables — use --profile x`},
		{"bad condition", web + "    depends_on:\n      db: {condition: fine}\n  db: {image: a}\n", `f.yaml:5: service "web": depends_on.db.condition value must be one of`},
		{"namespace", web + "    pid: service:x\n", `f.yaml:2: service "web": it depends on "x", which is not defined`},
		{"mode and networks", web + "    network_mode: host\n    networks: [default]\n", "f.yaml:4: service \"web\": `network_mode` and `networks` exclude each other"},
		{"cycle", "services:\n  a: {image: a, depends_on: [b]}\n  b: {image: a, depends_on: [c]}\n  c: {image: a, links: [a]}\n", `f.yaml:2: service "a": services depend on one another in a cycle: a -> b -> c -> a`},
		{"cycle of one", "services:\n  a: {image: a, depends_on: [a]}\n", `f.yaml:2: service "a": services depend on one another in a cycle: a -> a`},
		{"missing include", "include:\n  - gone.yaml\n" + web, `f.yaml:2: the included file gone.yaml does not exist`},
		{"include cycle", "include: [f.yaml]\n" + web, `f.yaml:1: files include one another in a cycle`},
		{"missing extends file", "services:\n  web:\n    extends: {file: gone.yaml, service: x}\n", `f.yaml:3: service "web": it extends a service of gone.yaml, which does not exist`},
		{"missing extends service", "services:\n  web: {extends: base}\n", `f.yaml:2: service "web": cannot extend service "web"`},
		{"extends cycle", "services:\n  a: {extends: b}\n  b: {extends: a}\n", `services extend one another in a cycle: `},
		{"missing env_file", web + "    env_file: gone.env\n", `f.yaml:4: service "web": its env_file `},
		{"secret without source", web + "secrets:\n  s: {}\n", `f.yaml:5: secrets.s: one of file|environment must be set`},
		{"mounts", web + "    volumes: [\"./x:/a\"]\n    tmpfs: [/a]\n", `f.yaml:4: service "web": two mounts have the target /a`},
		{"relative target", web + "    volumes: [\"data:rel\"]\nvolumes: {data: }\n", `f.yaml:4: service "web": its mount target "rel" is no absolute path`},
		{"scaled name", web + "    container_name: xx\n    scale: 2\n", `f.yaml:4: service "web": 2 containers cannot share the container_name "xx"`},
		{"same name", web + "    container_name: xx\n  b: {image: a, container_name: xx}\n", `f.yaml:4: service "web": the service "b" has the container_name "xx" too`},
		{"anchor in itself", "x-a: &a [*a]\n" + web, `f.yaml:1: this anchor contains itself`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := write(t, map[string]string{"f.yaml": c.file})
			t.Chdir(dir)
			_, err := project.Load(t.Context(), project.Options{Files: []string{"f.yaml"}})
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is\n%s\nwant\n%s...", err, c.want)
			}
			var e *project.Error
			if !errors.As(err, &e) || e.Fix == "" {
				t.Errorf("%v does not say what to do", err)
			}
		})
	}
}

// Errors in files that are included, extended or read as environment name those.
func TestErrorsNameTheRightFile(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"included", map[string]string{"compose.yaml": "include: [sub/c.yaml]\n", "sub/c.yaml": "services:\n  x:\n    image: a\n    prots: [80]\n"}, "sub/c.yaml:4: service \"x\": unknown key `prots` — did you mean `ports`?"},
		{"included syntax", map[string]string{"compose.yaml": "include: [sub/c.yaml]\n", "sub/c.yaml": "services: [\n"}, "sub/c.yaml:2: this is not valid YAML"},
		{"override", map[string]string{"compose.yaml": "services:\n  x: {image: a}\n", "compose.override.yaml": "services:\n  x:\n    networks: [gone]\n"}, "compose.override.yaml:3: service \"x\": it uses the network"},
		{"extended", map[string]string{"compose.yaml": "services:\n  x: {extends: {file: base.yaml, service: b}}\n", "base.yaml": "services:\n  b:\n    image: a\n    image: b\n"}, "base.yaml:4: the key `image` is already written"},
		{".env", map[string]string{"compose.yaml": "services:\n  x: {image: a}\n", ".env": "A=1\nB C=2\n"}, ".env:2: key cannot contain a space"},
		{"env_file", map[string]string{"compose.yaml": "services:\n  x:\n    image: a\n    env_file: e.env\n", "e.env": "A B=1\n"}, "compose.yaml:4: service \"x\": failed to read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(write(t, c.files))
			_, err := project.Load(t.Context(), project.Options{})
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("error is %v, want %s", err, c.want)
			}
		})
	}
}

// Hostile files are refused, or loaded, in little time.
func TestHostileInputIsBounded(t *testing.T) {
	var laughs strings.Builder
	laughs.WriteString("x-0: &x0 [l,l,l,l,l,l,l,l,l,l]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&laughs, "x-%d: &x%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*x%d,", i-1), 10), ","))
	}
	laughs.WriteString("services:\n  web: {image: a}\n")

	// 40 layers of two services that all depend on both of the next: 2^40 paths.
	var layers strings.Builder
	layers.WriteString("services:\n")
	for i := range 40 {
		for _, side := range []string{"a", "b"} {
			fmt.Fprintf(&layers, "  %s%d: {image: x", side, i)
			if i < 39 {
				fmt.Fprintf(&layers, ", depends_on: [a%d, b%d]", i+1, i+1)
			}
			layers.WriteString("}\n")
		}
	}
	large := "services:\n  web: {image: a}\nx-big: \"" + strings.Repeat("x", 10<<20) + "\"\n"
	many := "services:\n  web: {image: a}\nx-big: [" + strings.Repeat("1,", 1<<18) + "]\n"
	deep := "services:\n  web: {image: a}\nx-deep: " + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + "\n"
	for _, c := range []struct {
		name, file string
		fine       bool
	}{{"billion laughs", laughs.String(), false}, {"layers", layers.String(), true}, {"10 MB", large, false}, {"too many values", many, false}, {"deep", deep, false}} {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Now()
			_, err := project.Load(t.Context(), project.Options{Files: []string{"-"}, Stdin: strings.NewReader(c.file), Name: "x"})
			if (err == nil) != c.fine {
				t.Errorf("error is %v", err)
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestSpecialFilesAreRefused(t *testing.T) {
	for _, path := range []string{"/dev/zero", t.TempDir(), "/nonexistent/compose.yaml"} {
		if _, err := project.Load(t.Context(), project.Options{Files: []string{path}}); err == nil {
			t.Errorf("%s was loaded", path)
		}
	}
}
