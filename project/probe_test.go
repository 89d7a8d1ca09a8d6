package project_test

import (
	"reflect"
	"strings"
	"testing"

	"tutti/project"
)

const probed = "services:\n  web:\n    image: a\n    healthcheck:\n"

func loadProbed(t *testing.T, text string) (*project.Project, error) {
	t.Helper()
	return project.Load(t.Context(), project.Options{Files: []string{"f.yaml"}, WorkingDir: write(t, map[string]string{"f.yaml": text}), Name: "x", Environ: []string{"PORT=81"}})
}

// The keys of health checks that only tutti knows are read, survive the way to the engine, and change the hash.
func TestHealthExtensions(t *testing.T) {
	t.Parallel()
	plain, err := loadProbed(t, probed+"      test: [CMD, a]\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, file string
		want       project.HealthExtensions
	}{
		{"a port", "      x-tcp: 5432\n", project.HealthExtensions{TCP: 5432}},
		{"a port in a variable", "      x-tcp: ${PORT}\n", project.HealthExtensions{TCP: 81}},
		{"a URL", "      x-http: http://localhost:${PORT}/health\n", project.HealthExtensions{HTTP: &project.HTTPProbe{URL: "http://localhost:81/health", Method: "GET"}}},
		{"the service's name", "      x-http: https://web/\n", project.HealthExtensions{HTTP: &project.HTTPProbe{URL: "https://web/", Method: "GET"}}},
		{"the long form", "      x-http:\n        url: https://[::1]:8443/\n        method: head\n        headers: {Host: example.org, X-N: 1}\n        status: [200, 400-499]\n        insecure: true\n", project.HealthExtensions{HTTP: &project.HTTPProbe{
			URL: "https://[::1]:8443/", Method: "HEAD", Headers: map[string]string{"Host": "example.org", "X-N": "1"}, Status: [][2]int{{200, 200}, {400, 499}}, Insecure: true,
		}}},
		{"what to do", "      test: a\n      x-on-unhealthy: restart\n", project.HealthExtensions{RestartUnhealthy: true}},
		{"others are ignored", "      test: a\n      x-other: 1\n", project.HealthExtensions{}},
	} {
		p, err := loadProbed(t, probed+tt.file)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		b, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := project.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if x := got.HealthExtensions("web"); !reflect.DeepEqual(x, tt.want) {
			t.Errorf("%s: got %+v %+v, want %+v", tt.name, x, x.HTTP, tt.want)
		}
		if got.Hash("web") == plain.Hash("web") || got.Hash("web") != p.Hash("web") {
			t.Errorf("%s: the hash does not know the difference, or changes on its way", tt.name)
		}
		if len(p.Warnings()) > 0 {
			t.Errorf("%s: %v", tt.name, p.Warnings())
		}
	}
}

func TestHealthExtensionsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ file, want string }{
		{"      x-tcp: 0\n", "f.yaml:5: service \"web\": `healthcheck.x-tcp`: 0 is no port"},
		{"      x-tcp: 70000\n", "f.yaml:5: service \"web\": `healthcheck.x-tcp`: 70000 is no port"},
		{"      x-tcp: [1]\n", "f.yaml:5: service \"web\": `healthcheck.x-tcp`: [1] is no port"},
		{"      x-http: 80\n", "f.yaml:5: service \"web\": `healthcheck.x-http`: 80 is no URL"},
		{"      x-http: localhost:80\n", "f.yaml:5: service \"web\": `healthcheck.x-http`: \"localhost:80\" is no URL of http or https"},
		{"      x-http: http://localhost:99999/\n", "f.yaml:5: service \"web\": `healthcheck.x-http`: 99999 is no port"},
		{"      x-http: http://example.org/\n", "f.yaml:5: service \"web\": `healthcheck.x-http`: its host \"example.org\" is not the container"},
		{"      x-http: http://169.254.169.254/\n", "f.yaml:5: service \"web\": `healthcheck.x-http`: its host \"169.254.169.254\" is not the container"},
		{"      x-http: {url: http://localhost, method: BREW}\n", "f.yaml:5: service \"web\": `healthcheck.x-http.method`: BREW is no method"},
		{"      x-http:\n        url: http://localhost\n        headers: {\"a b\": c}\n", "f.yaml:7: service \"web\": `healthcheck.x-http.headers`: \"a b\": \"c\" is no header"},
		{"      x-http:\n        url: http://localhost\n        status: 99\n", "f.yaml:7: service \"web\": `healthcheck.x-http.status`: 99 is no status"},
		{"      x-http:\n        url: http://localhost\n        insecure: perhaps\n", "f.yaml:7: service \"web\": `healthcheck.x-http.insecure`: perhaps is neither"},
		{"      x-http:\n        uri: http://localhost\n", "f.yaml:6: service \"web\": `healthcheck.x-http.uri`: unknown key `uri`"},
		{"      x-http: http://localhost\n      x-tcp: 80\n", "f.yaml:6: service \"web\": `healthcheck.x-tcp`: `x-http` and `x-tcp` exclude each other"},
		{"      x-on-unhealthy: reboot\n", "f.yaml:5: service \"web\": `healthcheck.x-on-unhealthy`: reboot is nothing"},
	} {
		_, err := loadProbed(t, probed+tt.file)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", strings.TrimSpace(tt.file), err, tt.want)
		}
	}
}

// Hooks and restart policies that nobody could act upon are refused with their place.
func TestLifecycleRefused(t *testing.T) {
	t.Parallel()
	const web = "services:\n  web:\n    image: a\n"
	for _, tt := range []struct{ file, want string }{
		{"    post_start:\n      - command: []\n", `f.yaml:5: service "web": its post_start hook has no command`},
		{"    pre_stop:\n      - command: \"\"\n", `f.yaml:5: service "web": its pre_stop hook has no command`},
		{"    pre_start:\n      - command: a\n        per_replica: true\n", "f.yaml:5: service \"web\": `per_replica` is not implemented"},
		{"    deploy:\n      restart_policy: {condition: sometimes}\n", `f.yaml:5: service "web": "sometimes" is no condition to restart on`},
	} {
		_, err := loadProbed(t, web+tt.file)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", strings.TrimSpace(tt.file), err, tt.want)
		}
	}
	p, err := loadProbed(t, web+"    post_start: [{command: a}]\n    pre_stop: [{command: a}]\n")
	if err != nil || len(p.Warnings()) > 0 {
		t.Errorf("%v %v", err, p.Warnings())
	}
}
