package main

import (
	"strings"
	"testing"

	"tutti/cmd/tutti/bootunit"
	"tutti/runtime/cgroup/scope"
)

func TestSystemInstall(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	r := c.run("--root", "/srv/other", "system", "install", "--print")
	if r.code != 0 || !strings.Contains(r.out.String(), " --root /srv/other system boot\n") {
		t.Errorf("exit code %d: %s%s", r.code, r.out.String(), r.err.String())
	}
	if scope.Booted() {
		return // what it does there is tested in samples/guest
	}
	for _, verb := range []string{"install", "uninstall"} {
		c.run("system", verb).expect(t, 1, "", bootunit.ErrNoSystemd.Error()+"\n")
	}
}
