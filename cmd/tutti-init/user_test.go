package main

import "testing"

func TestFindUserAndGroup(t *testing.T) {
	t.Parallel()
	const passwd = "root:x:0:0::/root:/bin/sh\n# comment\nbroken:x\n1000:x:5:5::/five:\napp:x:1000:1001::/app:/bin/sh\nbig:x:4294967296:0::/:\n"
	for name, want := range map[string]struct {
		login, home string
		uid         uint32
		ok          bool
	}{
		"root": {"root", "/root", 0, true},
		"1000": {"app", "/app", 1000, true}, // a number is a number, also if somebody is called so
		"app":  {"app", "/app", 1000, true},
		"big":  {}, "none": {}, "77": {},
	} {
		var id identity
		login, home, ok := findUser(passwd, name, &id)
		if login != want.login || home != want.home || ok != want.ok || id.uid != want.uid {
			t.Errorf("%s: %q %q %d %v", name, login, home, id.uid, ok)
		}
	}
	if gid, ok := findGroup("a:x:7:b\n", "a"); gid != 7 || !ok {
		t.Error(gid, ok)
	}
	if gid, ok := findGroup("", "2147483648"); ok {
		t.Error(gid)
	}
}
