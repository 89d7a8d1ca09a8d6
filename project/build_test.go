package project_test

import (
	"strings"
	"testing"
)

func TestCheckBuild(t *testing.T) {
	dir := write(t, map[string]string{"app/Dockerfile": "FROM scratch\n", "file": "", "compose.yaml": `
name: x
services:
  fine: {build: {context: app, additional_contexts: {other: app, image: "docker-image://a", svc: "service:inline"}}}
  inline: {build: {context: app, dockerfile_inline: FROM scratch}}
  remote: {build: "https://example.com/repo.git"}
  image: {image: a}
  gone:
    build:
      context: ./gone
  nofile:
    build:
      context: app
      dockerfile: Other
  afile: {build: file}
  extra: {build: {context: app, additional_contexts: {other: ./gone}}}
`})
	p := loadFile(t, dir+"/compose.yaml")
	for service, want := range map[string]string{
		"fine": "", "inline": "", "remote": "", "image": "",
		"gone":   `compose.yaml:10: service "gone": its build context ` + dir + `/gone cannot be read: it does not exist`,
		"nofile": `compose.yaml:14: service "nofile": its Dockerfile ` + dir + `/app/Other cannot be read: it does not exist`,
		"afile":  `compose.yaml:15: service "afile": its build context ` + dir + `/file is not a directory`,
		"extra":  `compose.yaml:16: service "extra": its additional context "other"`,
	} {
		err := p.CheckBuild(service)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error is %v, want %s", service, err, want)
		}
	}
}
