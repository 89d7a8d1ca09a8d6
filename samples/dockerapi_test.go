package samples

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// What docker's clients ask about containers and volumes. Each answer was held against docker's own by `make compare`.
func TestDockerClients(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
name: api
services:
  web:
    {image: busybox, command: [sh, -c, "echo out; echo err >&2; exec sleep 1000"], init: true, ports: ["127.0.0.1:8123:80"], volumes: ["data:/data"], labels: {kind: web}, mem_limit: 64m,
     restart: unless-stopped}
  job: {image: busybox, command: [sh, -c, "echo done here; exit 3"], network_mode: none}
volumes: {data: {}, spare: {}}
`)
	s.must("up", "-d", "web")
	s.must("volume", "create", "spare")
	s.must("up", "-d", "job")
	s.run("wait", "job")
	for query, want := range map[string]string{
		"": "api-web-1", "all=1": "api-job-1 api-web-1", "limit=1": "api-job-1", "filters=" + url.QueryEscape(`{"status":["exited"]}`): "api-job-1",
		"all=1&filters=" + url.QueryEscape(`{"exited":["3"]}`):            "api-job-1",
		"all=1&filters=" + url.QueryEscape(`{"name":["^/api-w"]}`):        "api-web-1",
		"all=1&filters=" + url.QueryEscape(`{"label":["kind=web"]}`):      "api-web-1",
		"all=1&filters=" + url.QueryEscape(`{"label!":["kind=web"]}`):     "api-job-1",
		"all=1&filters=" + url.QueryEscape(`{"network":["none"]}`):        "api-job-1",
		"all=1&filters=" + url.QueryEscape(`{"volume":["api_data"]}`):     "api-web-1",
		"all=1&filters=" + url.QueryEscape(`{"volume":["/data"]}`):        "api-web-1",
		"all=1&filters=" + url.QueryEscape(`{"publish":["8000-8200"]}`):   "api-web-1",
		"all=1&filters=" + url.QueryEscape(`{"publish":["8123/udp"]}`):    "",
		"all=1&filters=" + url.QueryEscape(`{"expose":["80"]}`):           "api-web-1",
		"all=1&filters=" + url.QueryEscape(`{"since":["api-web-1"]}`):     "api-job-1",
		"all=1&filters=" + url.QueryEscape(`{"before":["api-job-1"]}`):    "api-web-1",
		"all=1&filters=" + url.QueryEscape(`{"ancestor":["busybox"]}`):    "api-job-1 api-web-1",
		"all=1&filters=" + url.QueryEscape(`{"ancestor":["nonesuch"]}`):   "",
		"all=1&filters=" + url.QueryEscape(`{"health":["none"]}`):         "api-job-1 api-web-1",
		"all=1&filters=" + url.QueryEscape(`{"network":["api_default"]}`): "api-web-1",
	} {
		if got := s.containerNames(t, query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	for path, want := range map[string]string{
		"/containers/json?filters=" + url.QueryEscape(`{"nonsense":["1"]}`):      "invalid filter 'nonsense'",
		"/containers/json?filters=" + url.QueryEscape(`{"status":["nonsense"]}`): "invalid filter 'status=nonsense'",
		"/containers/json?filters=" + url.QueryEscape(`{"publish":["9-8"]}`):     "invalid port",
		"/volumes?filters=" + url.QueryEscape(`{"nonsense":["1"]}`):              "invalid filter 'nonsense'",
		"/containers/api-web-1/logs":                                             "choose at least one stream",
		"/containers/api-web-1/logs?stdout=1&since=yesterday":                    "no time",
	} {
		if status, text := s.ask(http.MethodGet, path, nil); status != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	s.describedToClients(t)
	s.logsForClients(t)
}

// containerNames are those of GET /containers/json, in its order.
func (s *site) containerNames(t *testing.T, query string) string {
	t.Helper()
	status, text := s.ask(http.MethodGet, "/containers/json?"+query, nil)
	var list []struct{ Names []string }
	if err := json.Unmarshal([]byte(text), &list); err != nil || status != http.StatusOK {
		t.Errorf("%s: %d %s", query, status, text)
	}
	var names []string
	for _, c := range list {
		names = append(names, strings.TrimPrefix(c.Names[0], "/"))
	}
	return strings.Join(names, " ")
}

// describedToClients looks at what lists and inspect say of a container, and at volumes.
func (s *site) describedToClients(t *testing.T) {
	t.Helper()
	for path, all := range map[string][]string{
		"/containers/json?size=1": {`"Command":"sh -c 'echo out; echo err \u003e\u00262; exec sleep 1000'"`, `"SizeRootFs":`, `"Name":"api_data"`, `"NetworkMode":"api_default"`, `"api_default":{`},
		"/containers/api-web-1/json?size=1": {
			`"Memory":67108864`, `"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8123"}]}`, `"ExposedPorts":{"80/tcp":{}}`, `"Name":"unless-stopped"`,
			`"Binds":["api_data:/data"]`, `-json.log"`, `"SizeRw":`, `"ShmSize":67108864`, `"Driver":"local"`,
		},
		"/containers/api-job-1/json": {`"ExitCode":3`, `"NetworkMode":"none"`, `"Networks":{"none":{`},
		"/plugins":                   {`[]`},
		"/volumes?filters=" + url.QueryEscape(`{"dangling":["true"]}`):                     {`"Name":"spare"`},
		"/volumes?filters=" + url.QueryEscape(`{"dangling":["false"],"name":["data"]}`):    {`"Name":"api_data"`},
		"/volumes?filters=" + url.QueryEscape(`{"driver":["none"]}`):                       {`"Volumes":[]`},
		"/volumes?filters=" + url.QueryEscape(`{"label":["com.docker.compose.volume=x"]}`): {`"Volumes":[]`},
	} {
		status, text := s.ask(http.MethodGet, path, nil)
		for _, want := range all {
			if status != http.StatusOK || !strings.Contains(text, want) {
				t.Errorf("%s: no %s in %d %s", path, want, status, text)
			}
		}
	}
	if _, text := s.ask(http.MethodGet, "/volumes?filters="+url.QueryEscape(`{"dangling":["true"]}`), nil); strings.Contains(text, "api_data") {
		t.Errorf("a volume in use dangles: %s", text)
	}
}

// logsForClients reads logs as docker's frames.
func (s *site) logsForClients(t *testing.T) {
	t.Helper()
	const out, err = "\x01\x00\x00\x00\x00\x00\x00\x04out\n", "\x02\x00\x00\x00\x00\x00\x00\x04err\n"
	eventually(t, commandTimeout, func() error {
		if _, text := s.ask(http.MethodGet, "/containers/api-web-1/logs?stdout=1&stderr=1", nil); text != out+err && text != err+out {
			return errors.New(text)
		}
		return nil
	})
	for query, want := range map[string]string{"stdout=1": out, "stderr=1": err, "stdout=1&stderr=1&tail=0": "", "stdout=1&until=1": ""} {
		if status, text := s.ask(http.MethodGet, "/containers/api-web-1/logs?"+query, nil); status != http.StatusOK || text != want {
			t.Errorf("%s: %d %q, want %q", query, status, text, want)
		}
	}
	// One that has ended is not followed for ever.
	if status, text := s.ask(http.MethodGet, "/containers/api-job-1/logs?stdout=1&follow=1&timestamps=1&tail=1", nil); status != http.StatusOK || !strings.HasSuffix(text, "Z done here\n") || len(text) != 8+30+1+10 {
		t.Errorf("with time: %d %q", status, text)
	}
}
