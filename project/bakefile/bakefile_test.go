package bakefile

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tutti/project"
)

// The wanted file is what docker compose v5.6 prints of the same project with the same flags.
func TestFileIsDockerComposes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := map[string]string{"compose.yaml": composeFile, "app/Dockerfile": "FROM scratch\n", "other/x": "", "token": "t"}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := project.Load(context.Background(), project.Options{Files: []string{filepath.Join(dir, "compose.yaml")}, Environ: []string{"SECRET=s"}})
	if err != nil {
		t.Fatal(err)
	}
	value := "from ${flag}"
	got, err := json.MarshalIndent(New(p, []string{"web.x"}, Flags{Args: map[string]*string{"F": &value, "UNSET": nil}, SSH: "default", Pull: true, Push: true}), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/bake.json")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(want), "@DIR@", dir)
	if strings.TrimSpace(text) != string(got) {
		t.Errorf("got\n%s\nwant\n%s", got, text)
	}
}

const composeFile = `
name: shop
services:
  base:
    build: {context: app, dockerfile_inline: "FROM scratch\nARG A=$${A}\n", platforms: [linux/amd64, linux/arm64]}
  web.x:
    image: shop/web:1
    build:
      context: app
      target: last
      args: {A: "1", NONE: }
      labels: {l: v}
      tags: [shop/web:2]
      additional_contexts: {b: "service:base", o: ./other, i: "docker-image://alpine"}
      cache_from: [shop/web:cache]
      cache_to: ["type=local,dest=./cache"]
      no_cache: true
      no_cache_filter: [first]
      network: host
      extra_hosts: {h: 10.0.0.1}
      shm_size: 64m
      ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}
      privileged: true
      entitlements: [network.host]
      provenance: mode=max
      sbom: true
      ssh: [default, "key=/k"]
      secrets: [token, {source: env, target: other}]
  plain: {image: alpine}
secrets:
  token: {file: ./token}
  env: {environment: SECRET}
`
