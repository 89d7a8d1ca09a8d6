package detach

import (
	"bytes"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ctrl-p,ctrl-q": "\x10\x11", "CTRL-A": "\x01", "a": "a", "x,y,z": "xyz", "ctrl-@": "\x00", "ctrl-[": "\x1b",
		`ctrl-\`: "\x1c", "ctrl-]": "\x1d", "ctrl-^": "\x1e", "ctrl-_,Q": "\x1fQ",
	} {
		got, err := Parse(in)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "ctrl-", "ctrl-1", "shift-a", "ab", "a,,b", "ctrl-ab"} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("%q is taken for %q", bad, got)
		}
	}
}

// However the bytes arrive, the process gets all of them but the sequence, and nothing is kept that cannot be part of it.
func TestDetector(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		keys, in, pass string
		detach         bool
	}{
		{"\x10\x11", "ls\n", "ls\n", false},
		{"\x10\x11", "a\x10\x11b", "a", true},
		{"\x10\x11", "\x10\x10\x11", "\x10", true},
		{"\x10\x11", "\x10a\x11", "\x10a\x11", false},
		{"aab", "xaaab", "xa", true},
		{"aab", "aa.", "aa.", false},
		{"q", "q", "", true},
		{"", "anything", "anything", false},
	} {
		for size := 1; size <= len(c.in); size++ {
			d := NewDetector([]byte(c.keys))
			var pass bytes.Buffer
			detach := false
			for in := []byte(c.in); len(in) > 0 && !detach; {
				n := min(size, len(in))
				var p []byte
				p, detach = d.Feed(in[:n])
				pass.Write(p)
				in = in[n:]
			}
			if pass.String() != c.pass || detach != c.detach {
				t.Errorf("%q in %q, %d bytes at a time: %q, %t; want %q, %t", c.keys, c.in, size, pass.String(), detach, c.pass, c.detach)
			}
		}
	}
}
