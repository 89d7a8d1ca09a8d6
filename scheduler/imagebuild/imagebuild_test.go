package imagebuild

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"

	"tutti/project"
	"tutti/scheduler/api"
)

func load(t *testing.T, text string) *project.Project {
	t.Helper()
	file := filepath.Join(t.TempDir(), "compose.yaml")
	if err := os.WriteFile(file, []byte("name: shop\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := project.Load(context.Background(), project.Options{Files: []string{file}, Environ: []string{"PASSED=from the environment", "SECRET=s"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func want(t *testing.T, what string, got any, text string) {
	t.Helper()
	b, err := json.Marshal(got)
	if err != nil || string(b) != text {
		t.Errorf("%s: %s, %v; want %s", what, b, err, text)
	}
}

func TestCompose(t *testing.T) {
	t.Parallel()
	p := load(t, `
services:
  base: {build: {context: /src, dockerfile_inline: FROM scratch}}
  web:
    image: reg/web:1
    build:
      context: git@example.com:x.git
      args: {A: file, B: file, PASSED: , UNSET: }
      labels: {l: v}
      tags: [more:2]
      additional_contexts: {b: "service:base", i: "docker-image://alpine"}
      cache_from: [reg/web:cache, "type=local,src=cache"]
      cache_to: ["type=local,dest=/abs,mode=max"]
      extra_hosts: ["h=10.0.0.1", "h=10.0.0.2"]
      shm_size: 64m
      ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}
      privileged: true
      entitlements: [network.host]
      provenance: mode=max
      sbom: true
      secrets: [{source: env, target: other}]
      no_cache: true
secrets: {env: {environment: SECRET}}
`)
	given, proxy := "given", "http://proxy"
	u := User{
		ClientContext: api.ClientContext{Dir: "/work", SSHAuthSock: "/agent"},
		Proxy:         map[string]*string{"HTTP_PROXY": &proxy, "A": &proxy},
	}
	q, err := Compose(p, "web", Flags{Args: map[string]*string{"B": &given, "NONE": nil}, Pull: true, Push: true, Memory: 1 << 20, SBOM: "false"}, u)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "args", q.Args, `{"A":"file","B":"given","HTTP_PROXY":"http://proxy","PASSED":"from the environment"}`)
	want(t, "labels", q.Labels, `{"com.docker.compose.project":"shop","com.docker.compose.service":"web","l":"v"}`)
	want(t, "tags", q.Tags, `["reg/web:1","more:2"]`)
	want(t, "outputs", q.Outputs, `[{"Type":"registry","Dest":"","Attrs":null}]`)
	want(t, "contexts", q.AdditionalContexts, `{"i":"docker-image://alpine"}`)
	want(t, "built contexts", q.BuiltContexts, `{"b":"shop-base"}`)
	want(t, "cache from", q.CacheFrom, `["reg/web:cache","type=local,src=/work/cache"]`)
	want(t, "cache to", q.CacheTo, `["type=local,dest=/abs,mode=max"]`)
	want(t, "hosts", q.ExtraHosts, `{"h":["10.0.0.1","10.0.0.2"]}`)
	want(t, "ulimits", q.Ulimits, `[{"Name":"nofile","Soft":1,"Hard":2},{"Name":"nproc","Soft":3,"Hard":3}]`)
	want(t, "ssh", q.SSH, `[{"ID":"default","Paths":["/agent"]}]`) // a context over ssh takes the user's agent
	want(t, "secrets", q.Secrets, `[{"ID":"other","File":"","Value":"cw=="}]`)
	want(t, "rights", []any{q.Privileged, q.Entitlements, q.NoCache, q.Pull, q.ShmSize, q.Limits.Memory, q.Provenance, q.SBOM},
		`[true,["network.host"],true,true,67108864,1048576,"mode=max","false"]`)
}

func TestOrder(t *testing.T) {
	t.Parallel()
	p := load(t, `
services:
  a: {build: {context: /a, additional_contexts: {x: "service:b", y: "service:c", z: /z}}}
  b: {build: {context: /b, additional_contexts: {x: "service:c"}}}
  c: {build: /c}
  d: {image: d}
  e: {build: {context: /e, additional_contexts: {x: "service:f"}}}
  f: {build: {context: /f, additional_contexts: {x: "service:e"}}}
`)
	order, err := Order(p, []string{"a", "d"})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "order", order, `{"a":["b","c"],"b":["c"],"c":[]}`)
	if _, err := Order(p, []string{"e"}); err == nil || !strings.Contains(err.Error(), "e -> f -> e") {
		t.Errorf("a cycle: %v", err)
	}
}

func TestClassic(t *testing.T) {
	t.Parallel()
	v := url.Values{
		"t": {"a:1", "b"}, "dockerfile": {"D"}, "buildargs": {`{"A":"1","N":null}`}, "labels": {`{"l":"v"}`}, "nocache": {"1"}, "networkmode": {"bridge"},
		"ulimits": {`[{"Name":"nofile","Hard":2,"Soft":1}]`}, "extrahosts": {"h:10.0.0.1"}, "memory": {"1024"}, "cachefrom": {`["x"]`}, "platform": {"linux"},
	}
	q, err := Classic(v, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "request", []any{q.Context, q.Tags, q.Dockerfile, q.Args, q.Labels, q.NoCache, q.Network, q.Ulimits, q.ExtraHosts, q.Limits.Memory, q.CacheFrom, q.Platforms},
		`["-",["a:1","b"],"D",{"A":"1"},{"l":"v"},true,"default",[{"Name":"nofile","Soft":1,"Hard":2}],{"h":["10.0.0.1"]},1024,["x"],["linux"]]`)
	q, err = Classic(url.Values{"remote": {"https://h/x.git"}}, nil)
	if err != nil || q.Context != "https://h/x.git" || q.Stdin != nil {
		t.Errorf("remote: %+v, %v", q, err)
	}
	for text, want := range map[string]string{
		"version=3": "invalid version", "squash=1": "squash", "memory=x": "no number", "buildargs=[": "buildargs", "isolation=hyperv": "isolation",
		"securityopt=x": "securityopt", "cgroupparent=x": "cgroupparent", "extrahosts=h": "extrahosts", "remote=/etc": "is no URL", "remote=client-session": "is no URL", `outputs=[{"Type":"tar"}]`: "outputs",
	} {
		v, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Classic(v, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", text, err, want)
		}
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"session=s&remote=client-session&t=a&nocache=1": `["s","",["a"],true,null] false`,
		"session=s&remote=upload-request&buildid=b":     `["s","-",null,false,null] true`,
		"session=s":                                       `["s","-",null,false,null] false`,
		"session=s&remote=https://h/x.git":                `["s","https://h/x.git",null,false,null] false`,
		`session=s&outputs=[{"Type":"tar","Attrs":{}}]`:   `["s","-",null,false,["tar"]] false`,
		"remote=client-session":                           "needs a session",
		"session=s&squash=1":                              "squash",
		"session=s&remote=/etc":                           "is no URL",
		"session=s&outputs=x":                             "outputs",
		"session=s&remote=client-session&cgroupparent=/x": "cgroupparent",
	} {
		v, err := url.ParseQuery("version=2&" + text)
		if err != nil {
			t.Fatal(err)
		}
		c, uploaded, err := Session(v)
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		var types []string
		for _, o := range c.Outputs {
			types = append(types, o.Type)
		}
		got, err := json.Marshal([]any{c.Session, c.Context, c.Tags, c.NoCache, types})
		if err != nil || fmt.Sprint(string(got), " ", uploaded) != want || !IsSession(v) {
			t.Errorf("%s: %s %v, %v", text, got, uploaded, err)
		}
	}
	if id, ok := Upload(url.Values{"buildid": {"upload-request:b"}}); !ok || id != "b" {
		t.Errorf("upload: %q %v", id, ok)
	}
}

func TestTranscript(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	tr := NewTranscript(func(s string) { text.WriteString(s) })
	now := time.Now()
	vertex := func(name string, started, cached bool) *client.Vertex {
		v := &client.Vertex{Digest: digest.FromString(name), Name: name, Cached: cached}
		if started {
			v.Started = &now
		}
		if cached {
			v.Completed = &now
		}
		return v
	}
	for _, v := range []*client.Vertex{
		vertex("[internal] load build definition", true, false), vertex("[1/2] FROM busybox", true, true), vertex("[2/2] RUN make", false, false), vertex("[2/2] RUN make", true, false),
	} {
		tr.Add(&client.SolveStatus{Vertexes: []*client.Vertex{v}})
	}
	tr.Add(&client.SolveStatus{Logs: []*client.VertexLog{{Vertex: digest.FromString("[2/2] RUN make"), Data: []byte("made\n")}}})
	tr.End("sha256:0123456789abcdef", []string{"a:1"})
	const want = "Step 1/2 : FROM busybox\n ---> Using cache\nStep 2/2 : RUN make\nmade\nSuccessfully built 0123456789ab\nSuccessfully tagged a:1\n"
	if text.String() != want {
		t.Errorf("got %q, want %q", text.String(), want)
	}
}
