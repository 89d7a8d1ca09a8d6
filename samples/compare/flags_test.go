package compare

import (
	"regexp"
	"strings"
	"testing"
)

const flagSection = "commands and flags"

// parents are docker's commands that hold others, and how tutti names them; "compose" is the top of tutti's.
var parents = []struct{ docker, tutti string }{
	{"compose", ""}, {"image", "image"}, {"container", "container"}, {"network", "network"}, {"volume", "volume"}, {"system", "system"}, {"builder", "builder"},
}

var (
	commandLine = regexp.MustCompile(`(?m)^  ([a-z][a-z-]*)\*? {2,}\S`)
	flagLine    = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z][a-z0-9-]*)`)
	notYetFlags = regexp.MustCompile(`(?m)^Not supported yet: (.*)$`)
)

// TestFlags looks for each of docker's commands and flags in tutti's help. What is refused by name is a known difference.
func TestFlags(t *testing.T) {
	for _, p := range parents {
		docker := both.docker.run(t, p.docker, "--help")
		if docker.code != 0 || !strings.Contains(docker.stdout, p.docker) {
			r := newRow(t, flagSection, "docker "+p.docker)
			r.unable("not installed")
			r.end()
			continue
		}
		ours := both.tutti.must(t, append(strings.Fields(p.tutti), "--help")...)
		have, refused := commandsOf(ours)
		theirs, _ := commandsOf(docker.stdout)
		for _, name := range sorted(theirs) {
			r := newRow(t, flagSection, p.docker+" "+name)
			switch {
			case refused[name]:
				r.differ("command", "there", "refused by name")
			case !have[name]:
				r.differ("command", "there", "missing")
			default:
				compareFlags(t, r, p.docker, p.tutti, name)
			}
			r.end()
		}
	}
}

// commandsOf are the commands in a help, apart those that are not supported yet.
func commandsOf(help string) (have, refused map[string]bool) {
	have, refused = map[string]bool{}, map[string]bool{}
	supported, missing, _ := strings.Cut(help, "\nNot yet:\n")
	missing, _, _ = strings.Cut(missing, "\nFlags:\n")
	supported, _, _ = strings.Cut(supported, "\nFlags:\n")
	for _, m := range commandLine.FindAllStringSubmatch(supported, -1) {
		have[m[1]] = true
	}
	for _, m := range commandLine.FindAllStringSubmatch(missing, -1) {
		refused[m[1]] = true
	}
	return have, refused
}

func compareFlags(t *testing.T, r *row, docker, tutti, name string) {
	t.Helper()
	theirs := both.docker.run(t, docker, name, "--help").stdout
	ours := both.tutti.must(t, append(strings.Fields(tutti), name, "--help")...)
	have, refused := map[string]bool{}, map[string]bool{}
	for _, m := range flagLine.FindAllStringSubmatch(ours, -1) {
		have[m[1]] = true
	}
	for _, m := range notYetFlags.FindAllStringSubmatch(ours, -1) {
		for f := range strings.SplitSeq(m[1], ", ") {
			refused[strings.TrimPrefix(f, "--")] = true
		}
	}
	for _, m := range flagLine.FindAllStringSubmatch(theirs, -1) {
		switch {
		case refused[m[1]]:
			r.differ("--"+m[1], "there", "refused by name")
		case !have[m[1]]:
			r.differ("--"+m[1], "there", "missing")
		}
	}
}
