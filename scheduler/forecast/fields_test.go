package forecast_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tutti/project"
	"tutti/scheduler/api"
	"tutti/scheduler/forecast"
)

// load makes a project called demo of a compose file's text.
func load(t *testing.T, text string, env ...string) *project.Project {
	t.Helper()
	p, err := project.Load(t.Context(), project.Options{
		Files: []string{"-"}, Stdin: strings.NewReader(text), Name: "demo", WorkingDir: "/demo", ProjectDir: "/demo", Environ: env,
	})
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return p
}

// brief is a difference in one line.
func brief(d api.Difference) string {
	value := func(s *string) string {
		if s == nil {
			return "-"
		}
		return fmt.Sprintf("%q", *s)
	}
	text := fmt.Sprintf("%s %s %s %s", d.Field, d.Change, value(d.Before), value(d.After))
	if d.Hidden {
		text += " hidden"
	}
	if d.Note != "" {
		text += " (" + d.Note + ")"
	}
	return text
}

func briefs(list []api.Difference) []string {
	lines := make([]string, 0, len(list))
	for _, d := range list {
		lines = append(lines, brief(d))
	}
	return lines
}

// Every kind of field is compared in the way that its readers think of it.
func TestDifferencesOfServices(t *testing.T) {
	const frame = "services:\n  web:\n    image: web:1\n    %s\nnetworks: {front: {}, back: {}}\nvolumes: {data: {}, other: {}}\n"
	for _, tc := range []struct {
		before, after string
		want          []string
	}{
		{"stop_signal: SIGINT", "stop_signal: SIGTERM", []string{`stop_signal changed "SIGINT" "SIGTERM"`}},
		{"environment: {A: a, B: b, E: , F: f}", "environment: {A: x, C: c, E: '', F: f}", []string{
			`environment.A changed "a" "x"`, `environment.B removed "b" -`, `environment.C added - "c"`, `environment.E changed - ""`,
		}},
		{"environment: {API_KEY: a, GONE_TOKEN: b}", "environment: {API_KEY: x, NEW_PASSWORD: c}", []string{
			"environment.API_KEY changed - - hidden", "environment.GONE_TOKEN removed - - hidden", "environment.NEW_PASSWORD added - - hidden",
		}},
		{"environment: {DB: 'pg://u:a@h/d'}", "environment: {DB: 'pg://u:b@h/e'}", []string{
			`environment.DB changed "pg://u:***@h/d" "pg://u:***@h/e" hidden`,
		}},
		{"labels: {com.x.y: a}", "labels: {com.x.y: b}", []string{`labels.com.x.y changed "a" "b"`}},
		{"ports: ['8080:80', '1:1']", "ports: ['127.0.0.1:8081:80', '1:1', '53:53/udp']", []string{
			`ports 53/udp added - "53"`, `ports 80/tcp changed "8080" "127.0.0.1:8081"`,
		}},
		{"ports: ['80']", "ports: [{target: 80, mode: host}]", []string{`ports 80/tcp.mode changed "ingress" "host"`}},
		{"ports: ['80', '81:80']", "ports: ['80', '82:80']", []string{`ports 80/tcp (2) changed "81" "82"`}},
		{"volumes: ['data:/d', '/a:/x']", "volumes: ['other:/d:ro', '/b:/y:ro']", []string{
			`volumes /d.read_only added - "true"`, `volumes /d.source changed "data" "other"`,
			`volumes /x removed "bind /a" -`, `volumes /y added - "bind /b read_only=true"`,
		}},
		{"command: a b", "command: a 'b c' --token t", []string{`command changed "a b" "a 'b c' --token ***" hidden`}},
		{"entrypoint: [a]", "tty: true", []string{`entrypoint removed "a" -`, `tty added - "true"`}},
		{"healthcheck: {test: a, retries: 2}", "healthcheck: {test: b}", []string{
			`healthcheck.retries removed "2" -`, `healthcheck.test changed "CMD-SHELL a" "CMD-SHELL b"`,
		}},
		{"cap_add: [A, B]", "cap_add: [B, C]", []string{`cap_add removed "A" -`, `cap_add added - "C"`}},
		{"dns: [1.1.1.1, 8.8.8.8]", "dns: [8.8.8.8, 1.1.1.1]", []string{`dns changed "1.1.1.1 8.8.8.8" "8.8.8.8 1.1.1.1"`}},
		{"networks: [front]", "networks: {front: {aliases: [x]}, back: }", []string{
			`networks.back.name added - "demo_back"`, `networks.front.aliases added - "x"`,
		}},
		{"post_start: [{command: [a]}]", "post_start: [{command: [b]}, {command: [c]}]", []string{
			`post_start[0].command changed "a" "b"`, `post_start[1].command added - "c"`,
		}},
		{"deploy: {resources: {limits: {memory: 1m}}}", "deploy: {resources: {limits: {memory: 2m}}}", []string{
			`deploy.resources.limits.memory changed "1048576" "2097152"`,
		}},
		{"tty: false", "deploy: {replicas: 3}", []string{"deploy.placement added - -", "deploy.resources added - -"}},
		{"logging: {driver: x, options: {splunk-token: a}}", "logging: {driver: y, options: {splunk-token: b}}", []string{
			`logging.driver changed "x" "y"`, `logging.options.splunk-token changed - - hidden`,
		}},
	} {
		a, b := load(t, fmt.Sprintf(frame, tc.before)), load(t, fmt.Sprintf(frame, tc.after))
		got, err := forecast.Differences(a.Canonical("web"), b.Canonical("web"), false)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(briefs(got), tc.want) {
			t.Errorf("%s → %s differs in\n\t%s\nwant\n\t%s", tc.before, tc.after, strings.Join(briefs(got), "\n\t"), strings.Join(tc.want, "\n\t"))
		}
		if same, err := forecast.Differences(a.Canonical("web"), a.Canonical("web"), false); err != nil || len(same) > 0 {
			t.Errorf("%s differs from itself: %v %v", tc.before, briefs(same), err)
		}
	}
}

// Of configs and secrets only hashes are known, and those of secrets tell somebody who guesses.
func TestDifferencesOfContents(t *testing.T) {
	const text = `
services: {web: {image: web, configs: [inline, file], secrets: [env, file]}}
configs: {inline: {content: one}, file: {file: ./a}}
secrets: {env: {environment: SECRET}, file: {file: ./s}}
`
	a := load(t, text, "SECRET=one")
	b := load(t, strings.NewReplacer("content: one", "content: two", "./a", "./b").Replace(text), "SECRET=two")
	for _, show := range []bool{false, true} {
		got, err := forecast.Differences(a.Canonical("web"), b.Canonical("web"), show)
		want := []string{`configs.file changed "file a" "file b"`, "configs.inline changed - - (its content differs)", "secrets.env changed - - hidden (its content differs)"}
		if err != nil || !slices.Equal(briefs(got), want) {
			t.Errorf("differs in %q, %v, want %q", briefs(got), err, want)
		}
	}
}

func TestDifferencesOfNetworks(t *testing.T) {
	a := load(t, "services: {web: {image: web}}\nnetworks: {default: {driver_opts: {mtu: '1400'}}}\n")
	b := load(t, "services: {web: {image: web}}\nnetworks: {default: {internal: true, ipam: {config: [{subnet: 10.0.0.0/24}]}}}\n")
	got, err := forecast.Differences(a.NetworkCanonical("default"), b.NetworkCanonical("default"), false)
	want := []string{`driver_opts.mtu removed "1400" -`, `internal added - "true"`, `ipam.config[0].subnet added - "10.0.0.0/24"`}
	if err != nil || !slices.Equal(briefs(got), want) {
		t.Errorf("differs in %q, %v, want %q", briefs(got), err, want)
	}
}

// What was recorded may be damaged, or of another time.
func TestDifferencesOfAnything(t *testing.T) {
	for _, raw := range []string{"", "null", "{", `"x"`, "[]"} {
		if got, err := forecast.Differences(json.RawMessage(raw), json.RawMessage(`{"a":1}`), false); err == nil && (raw != "null" || len(got) != 1) {
			t.Errorf("%q differs in %v", raw, briefs(got))
		}
	}
	for _, raw := range []string{
		`{"ports":[1,null,"x",{}],"volumes":{"a":[]},"environment":[1],"references":3,"command":{"a":[{}]},"x":[[],[{}]]}`,
		`{"ports":{"a":1},"volumes":[[]],"environment":null,"references":{"a":[1],"secret":null},"command":[null],"x":[[1],3]}`,
	} {
		for _, other := range []string{`{}`, `{"ports":[{}],"volumes":[{}],"references":{},"command":"a","x":[["y"]]}`} {
			for _, pair := range [][2]string{{raw, other}, {other, raw}} {
				if got, err := forecast.Differences(json.RawMessage(pair[0]), json.RawMessage(pair[1]), false); err != nil || len(got) == 0 {
					t.Errorf("%s and %s: %v, %v", pair[0], pair[1], briefs(got), err)
				}
			}
		}
	}
}

// The rule for what is hidden is written down in docs/plan.md.
func TestSecretsAreHidden(t *testing.T) {
	differ := func(name, value string, show bool) api.Difference {
		t.Helper()
		after, err := json.Marshal(map[string]any{"environment": map[string]string{name: value}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := forecast.Differences(json.RawMessage("{}"), after, show)
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: %v, %v", name, briefs(got), err)
		}
		return got[0]
	}
	for name := range strings.FieldsSeq(`PASSWORD MYSQL_ROOT_PASSWORD PGPASSWORD MYSQL_PWD API_KEY apiKey AWS_SECRET_ACCESS_KEY GITHUB_TOKEN
		access-token SESSION_SECRET DB_DSN BASIC_AUTH REDIS_PASS client.credentials JWT_PRIVATE SSH_KEYS DB_PW COOKIE_SALT`) {
		if d := differ(name, "x", false); !d.Hidden || d.After != nil {
			t.Errorf("%s is shown: %s", name, brief(d))
		}
		if d := differ(name, "x", true); d.Hidden || d.After == nil || *d.After != "x" {
			t.Errorf("%s is not shown when it is asked for: %s", name, brief(d))
		}
	}
	for name := range strings.FieldsSeq("PATH PWD OLDPWD LOG_LEVEL POSTGRES_PASSWORD_FILE SSL_KEY_PATH MONKEY KEYBOARD AUTHOR PASSENGERS HOSTNAME") {
		if d := differ(name, "x", false); d.Hidden {
			t.Errorf("%s is hidden", name)
		}
	}
	for value, want := range map[string]string{
		"postgres://u:p%40w@db:5432/x?sslmode=off": "postgres://u:***@db:5432/x?sslmode=off",
		"redis://:pw@h":                                                           "redis://:***@h",
		"https://ghp_1234@github.com/x":                                           "https://***@github.com/x",
		"https://h/x?user=a&access_token=b&n=1":                                   "https://h/x?user=a&access_token=***&n=1",
		"run --password=x --user=y":                                               "run --password=*** --user=y",
		"run --api-key 'a b' --user y":                                            "run --api-key *** --user y",
		"redis-server --requirepass x":                                            "redis-server --requirepass ***",
		`sh -c "PASSWORD='a b' run"`:                                              `sh -c "PASSWORD=*** run"`,
		"docker run --env=PASSWORD=x":                                             "docker run --env=PASSWORD=***",
		`curl -H 'Authorization: Bearer x' http://h:80/y`:                         `curl -H 'Authorization: ***' http://h:80/y`,
		`{"user": "a", "password": "b"}`:                                          `{"user": "a", "password": ***}`,
		"a\n-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\nb": "a\n***\nb",
		"registry/auth:1.2":                                                       "registry/auth:1.2",
		"ssh://git@github.com/x":                                                  "ssh://git@github.com/x",
		"host:8080,other:9090 a=b -v x":                                           "host:8080,other:9090 a=b -v x",
	} {
		if d := differ("PLAIN", value, false); d.After == nil || *d.After != want || d.Hidden != (value != want) {
			t.Errorf("%s is shown as %s, want %s", value, brief(d), want)
		}
	}
}

// A text in which names and values never end must not be looked through for ever.
func TestEndlessTexts(t *testing.T) {
	for _, part := range []string{"a=", "a: ", "-a ", `"a": `, "a=-a a: ", "x://:", "https://", "-----BEGIN PRIVATE KEY-----", `"`, "'", "a='b", "token"} {
		text := strings.Repeat(part, 2000)
		after, err := json.Marshal(map[string]any{"command": []string{text}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := forecast.Differences(json.RawMessage("{}"), after, false); err != nil || len(got) != 1 {
			t.Errorf("%s...: %d differences, %v", part, len(got), err)
		}
	}
}
