package project_test

import (
	"strings"
	"testing"
)

// The hash changes with everything that makes a container stale, and with nothing else.
func TestHash(t *testing.T) {
	const base = `
services:
  web:
    image: web:1
    environment: {A: "1"}
    configs: [inline, fromenv]
    secrets: [secret]
    networks: [front]
    volumes: ["data:/d"]
    depends_on: [db]
    deploy: {replicas: 2}
  db: {image: db}
networks: {front: {}}
volumes: {data: {}}
configs: {inline: {content: one}, fromenv: {environment: CONF}}
secrets: {secret: {environment: SECRET}}
`
	env := []string{"SECRET=hush", "CONF=c", "TAG=x"}
	hash := loadText(t, base, env...).Hash("web")
	if len(hash) != 64 || loadText(t, base, env...).Hash("web") != hash {
		t.Fatalf("hash %q is not stable", hash)
	}
	if strings.Contains(string(loadText(t, base, env...).Canonical("web")), "hush") {
		t.Error("the secret is in the canonical form")
	}
	edit := func(before, after string) string {
		return loadText(t, strings.Replace(base, before, after, 1), env...).Hash("web")
	}
	for before, after := range map[string]string{
		"content: one":     "content: two",
		"{A: \"1\"}":       "{A: \"2\"}",
		"image: web:1":     "image: web:2",
		"front: {}":        "front: {name: other}",
		"data: {}":         "data: {name: other}",
		"\"data:/d\"":      "\"data:/d:ro\"",
		"networks: [front": "networks: [default, front",
		"replicas: 2":      "resources: {limits: {memory: 1g}}",
		"depends_on: [db]": "restart: always",
	} {
		if edit(before, after) == hash {
			t.Errorf("%s → %s does not change the hash", before, after)
		}
	}
	for before, after := range map[string]string{
		"depends_on: [db]":        "depends_on: {db: {condition: service_healthy}}",
		"depends_on: [db] ":       "depends_on: [db]",
		"replicas: 2":             "replicas: 3",
		"deploy: {replicas":       "build: .\n    deploy: {replicas",
		"deploy: {":               "develop: {watch: [{path: ., action: rebuild}]}\n    deploy: {update_config: {parallelism: 1}, ",
		"image: web:1":            "image: \"web:1\"\n    pull_policy: always\n    profiles: []\n    x-note: 1\n    attach: false",
		"networks: [front]":       "networks: {front: {}}",
		"front: {}":               "front: {internal: true}",
		"image: db":               "image: db2",
		"environment: {A: \"1\"}": "environment: [A=1]",
	} {
		if edit(before, after) != hash {
			t.Errorf("%s → %s changes the hash", before, after)
		}
	}
	for _, other := range [][]string{{"SECRET=loud", "CONF=c"}, {"SECRET=hush", "CONF=d"}} {
		if loadText(t, base, other...).Hash("web") == hash {
			t.Errorf("environment %v does not change the hash", other)
		}
	}
	if loadText(t, base, append(env, "UNRELATED=1")...).Hash("web") != hash {
		t.Error("an unrelated variable changes the hash")
	}
}

func TestNetworkAndVolumeHash(t *testing.T) {
	const base = "services:\n  a: {image: a, networks: [n], volumes: [\"v:/v\"]}\nnetworks: {n: {driver: bridge}}\nvolumes: {v: {driver: local}}\n"
	p := loadText(t, base)
	defaults := loadText(t, strings.NewReplacer("{driver: bridge}", "", "{driver: local}", "").Replace(base))
	if p.NetworkHash("n") != defaults.NetworkHash("n") || p.VolumeHash("v") != defaults.VolumeHash("v") {
		t.Error("the default driver changes the hash")
	}
	changed := loadText(t, strings.NewReplacer("driver: bridge", "internal: true", "driver: local", "labels: [a=b]").Replace(base))
	if p.NetworkHash("n") == changed.NetworkHash("n") || p.VolumeHash("v") == changed.VolumeHash("v") {
		t.Error("a change does not change the hash")
	}
}

// env_file counts by its values: moving them is no change, changing them is.
func TestHashOfEnvFile(t *testing.T) {
	hash := func(files map[string]string, compose string) string {
		files["compose.yaml"] = compose
		return loadFile(t, write(t, files)+"/compose.yaml").Hash("a")
	}
	one := hash(map[string]string{"a.env": "X=1\n"}, "name: n\nservices:\n  a: {image: a, env_file: a.env}\n")
	if one != hash(map[string]string{"b.env": "# moved\nX=1\n"}, "name: n\nservices:\n  a: {image: a, env_file: [b.env]}\n") {
		t.Error("moving values changes the hash")
	}
	if one != hash(map[string]string{}, "name: n\nservices:\n  a: {image: a, environment: {X: 1}}\n") {
		t.Error("moving values into the file changes the hash")
	}
	if one == hash(map[string]string{"a.env": "X=2\n"}, "name: n\nservices:\n  a: {image: a, env_file: a.env}\n") {
		t.Error("changing a value does not change the hash")
	}
}
