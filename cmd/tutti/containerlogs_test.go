package main

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
)

// What comes a second time is not printed again; a stream that breaks off or is no log is not taken for its end.
func TestLoggedLines(t *testing.T) {
	t.Parallel()
	frame := func(stream byte, text string) string {
		head := binary.BigEndian.AppendUint32([]byte{stream, 0, 0, 0}, uint32(len(text)))
		return string(head) + text
	}
	const one, two = "2026-01-02T03:04:05.000000001Z ", "2026-01-02T03:04:05.000000002Z "
	var out, failed strings.Builder
	l := &loggedLines{out: &out, err: &failed, follower: follower{cursors: map[string]*cursor{}}}
	first := frame(1, one+"a\n") + frame(2, one+" b c\n") + frame(1, two+"d\n")
	if err := l.copy(strings.NewReader(first + frame(1, two+"e\n")[:20])); !engineGone(err) {
		t.Error(err)
	}
	l.again = true
	l.cursors[""].since = 0
	if err := l.copy(strings.NewReader(first + frame(1, two+"e\n") + frame(1, two+"e\n"))); err != nil {
		t.Error(err)
	}
	if out.String() != "a\nd\ne\ne\n" || failed.String() != " b c\n" {
		t.Errorf("%q, %q", out.String(), failed.String())
	}
	for _, bad := range []string{first[:4], frame(1, "never x\n"), frame(1, ""), "\x01\x00\x00\x00\xff\xff\xff\xffx"} {
		if err := l.copy(strings.NewReader(bad)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
