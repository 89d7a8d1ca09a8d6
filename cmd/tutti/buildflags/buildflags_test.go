package buildflags

import (
	"encoding/json"
	"strings"
	"testing"
)

var user = User{Dir: "/work", Env: func(name string) (string, bool) {
	v, ok := map[string]string{"TOKEN": "s3cret", "EMPTY": ""}[name]
	return v, ok
}}

// check compares values in their JSON form; want may be the beginning of an error instead.
func check(t *testing.T, input string, got any, err error, want string) {
	t.Helper()
	text := ""
	if err != nil {
		text = "error: " + err.Error()
	} else {
		b, _ := json.Marshal(got)
		text = string(b)
	}
	if err != nil && !strings.HasPrefix(text, want) || err == nil && text != want {
		t.Errorf("%s:\n got %s\nwant %s", input, text, want)
	}
}

func TestSecret(t *testing.T) {
	for input, want := range map[string]string{
		"id=a,src=f":                 `{"id":"a","file":"/work/f"}`,
		"id=a,source=/f":             `{"id":"a","file":"/f"}`,
		"type=file,id=a,src=f":       `{"id":"a","file":"/work/f"}`,
		"id=a,env=TOKEN":             `{"id":"a","value":"czNjcmV0"}`,
		"id=TOKEN":                   `{"id":"TOKEN","value":"czNjcmV0"}`,
		"id=a,type=env,src=TOKEN":    `{"id":"a","value":"czNjcmV0"}`,
		`"id=a","src=with,comma"`:    `{"id":"a","file":"/work/with,comma"}`,
		"src=f":                      `error: invalid --secret "src=f": secret missing id`,
		"id=a,env=NONE":              `error: invalid --secret "id=a,env=NONE": the environment variable NONE is not set`,
		"id=a,colour=red":            `error: invalid --secret "id=a,colour=red": unexpected key 'colour'`,
		"id=a,type=vault,src=f":      `error: invalid --secret "id=a,type=vault,src=f": unsupported secret type`,
		"id":                         `error: invalid --secret "id": "id" is not key=value`,
		"id=TOKEN,type=env,env=NOPE": `error: invalid --secret "id=TOKEN,type=env,env=NOPE": the environment variable NOPE`,
	} {
		got, err := user.Secret(input)
		check(t, input, got, err, want)
	}
}

func TestOutput(t *testing.T) {
	for input, want := range map[string]string{
		"out":                            `{"type":"local","dest":"/work/out"}`,
		"-":                              `{"type":"tar","stdout":true}`,
		"type=tar,dest=x.tar":            `{"type":"tar","dest":"/work/x.tar"}`,
		"type=tar":                       `{"type":"tar","stdout":true}`,
		"type=oci,dest=-":                `{"type":"oci","stdout":true}`,
		"type=docker":                    `{"type":"docker"}`,
		"type=docker,dest=x.tar":         `{"type":"docker","dest":"/work/x.tar"}`,
		"type=image,name=a:b,push=true":  `{"type":"image","attrs":{"name":"a:b","push":"true"}}`,
		"type=local,dest=/o,mode=delete": `{"type":"local","dest":"/o","attrs":{"mode":"delete"}}`,
		"type=local,dest=-":              `error: invalid --output "type=local,dest=-": dest cannot be stdout`,
		"dest=x":                         `error: invalid --output "dest=x": type is required`,
	} {
		got, err := user.Output(input)
		check(t, input, got, err, want)
	}
}

func TestSSH(t *testing.T) {
	for input, want := range map[string]string{
		"default":       `{"id":"default"}`,
		"default=/sock": `{"id":"default","paths":["/sock"]}`,
		"ci=key,/k2":    `{"id":"ci","paths":["/work/key","/k2"]}`,
		"ci":            `error: invalid ssh key "ci"`,
	} {
		got, err := user.SSH(input)
		check(t, input, got, err, want)
	}
}

func TestPairsAndContexts(t *testing.T) {
	got, err := user.Pairs("build-arg", []string{"A=1", "TOKEN", "NONE", "EMPTY", "B=a=b"}, true)
	check(t, "build-arg", got, err, `{"A":"1","B":"a=b","EMPTY":"","TOKEN":"s3cret"}`)
	got, err = user.Pairs("label", []string{"a", "b=c"}, false)
	check(t, "label", got, err, `{"a":"","b":"c"}`)
	_, err = user.Pairs("label", []string{"=c"}, false)
	check(t, "label", nil, err, `error: invalid --label "=c"`)
	contexts, err := user.Contexts([]string{"a=dir", "b=/abs", "c=docker-image://x", "d=oci-layout://lay:v1", "e=https://h/x.git", "f=git@h:x"})
	check(t, "contexts", contexts, err,
		`{"a":"/work/dir","b":"/abs","c":"docker-image://x","d":"oci-layout:///work/lay:v1","e":"https://h/x.git","f":"git@h:x"}`)
	_, err = user.Contexts([]string{"a"})
	check(t, "contexts", nil, err, "error: invalid context value: a")
	hosts, err := Hosts([]string{"a:10.0.0.1", "a=10.0.0.2", "b:[fd00::1]", "h:host-gateway"})
	check(t, "hosts", hosts, err, `{"a":["10.0.0.1","10.0.0.2"],"b":["fd00::1"],"h":["host-gateway"]}`)
	for _, bad := range []string{"a", "a:", ":1"} {
		if _, err := Hosts([]string{bad}); err == nil {
			t.Errorf("--add-host %s is taken", bad)
		}
	}
}

func TestAttestations(t *testing.T) {
	for input, want := range map[string][2]string{
		"":                                {"", ""},
		"type=sbom":                       {"", "true"},
		"type=provenance,mode=max":        {"mode=max", ""},
		"type=sbom,generator=a/b":         {"", "generator=a/b"},
		"type=provenance,disabled=true":   {"false", ""},
		"type=sbom;type=provenance":       {"true", "true"},
		"type=provenance,mode=max,a=b":    {"mode=max,a=b", ""},
		"type=sbom,disabled=false,scan=1": {"", "scan=1"},
	} {
		var list []string
		if input != "" {
			list = strings.Split(input, ";")
		}
		p, s, err := Attestations(list, "", "")
		if err != nil || p != want[0] || s != want[1] {
			t.Errorf("%s: %q, %q, %v; want %q", input, p, s, err, want)
		}
	}
	if _, _, err := Attestations([]string{"type=other"}, "", ""); err == nil {
		t.Error("another type is taken")
	}
	if p, _, _ := Attestations([]string{"type=provenance,mode=max"}, "false", ""); p != "false" {
		t.Errorf("the shorthand does not win: %q", p)
	}
}
