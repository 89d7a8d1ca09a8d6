package project_test

import (
	"testing"

	"tutti/project"
)

// The word nearest to a port counts, also after the way to the engine, and a change of it makes containers stale.
func TestFirewall(t *testing.T) {
	const file = `
x-firewall: input
services:
  own:
    image: a
    ports:
      - "80:80"
      - {target: 81, x-firewall: open}
  open:
    image: a
    x-firewall: open
    ports:
      - "82:82"
      - {target: 83, x-firewall: input}
`
	load := func(text string) *project.Project {
		t.Chdir(write(t, map[string]string{"f.yaml": text}))
		p, err := project.Load(t.Context(), project.Options{Files: []string{"f.yaml"}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if p, err = project.Decode(b); err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := load(file)
	for service, want := range map[string][]string{"own": {project.FirewallInput, project.FirewallOpen}, "open": {project.FirewallOpen, project.FirewallInput}} {
		for i, port := range p.Services[service].Ports {
			if got := p.Firewall(service, port); got != want[i] {
				t.Errorf("%s, port %d: %s, want %s", service, port.Target, got, want[i])
			}
		}
	}
	plain := load("name: x\nservices:\n  own: {image: a, ports: [\"80:80\"]}\n")
	input := load("name: x\nservices:\n  own: {image: a, ports: [\"80:80\"], x-firewall: input}\n")
	explicit := load("name: x\nservices:\n  own: {image: a, ports: [\"80:80\"], x-firewall: open}\n")
	if plain.Hash("own") == input.Hash("own") || plain.Hash("own") != explicit.Hash("own") {
		t.Error("the hash does not tell whether the INPUT chain governs the port")
	}
}
