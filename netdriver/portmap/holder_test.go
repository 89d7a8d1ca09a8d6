package portmap

import "testing"

func TestOnBehalf(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"":                                   {"nginx", "-g", "daemon off;"},
		" for docker's container 172.17.0.2": {"/usr/bin/docker-proxy", "-proto", "tcp", "-container-ip", "172.17.0.2", "-container-port", "80"},
		" for a container of the engine with --root /x/root": {"tutti-keeper", "serve", "/x/root/engine.log", "/usr/bin/tutti", "engine", "--root", "/x/root"},
	} {
		if got := onBehalf(args); got != want {
			t.Errorf("%v: %q, want %q", args, got, want)
		}
	}
}
