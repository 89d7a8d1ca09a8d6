package wire

import (
	"reflect"
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	f.Add((&Message{Op: OpRegister, ID: "web", PID: 7, Token: 1 << 60}).Append(nil))
	f.Add((&Message{Op: OpReply, More: true, Text: "no", Names: []string{"out", "", strings.Repeat("n", 255)}}).Append(nil))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(m.Append(nil))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

func TestRoundTrip(t *testing.T) {
	names := make([]string, MaxFiles)
	for i := range names {
		names[i] = strings.Repeat("x", MaxName)
	}
	want := Message{
		Op: OpExit, More: true, State: Exited, Signal: 9, Code: 137, PID: 1 << 30, Seq: 1 << 63, Token: 5, At: -1,
		ID: strings.Repeat("i", MaxName), Text: strings.Repeat("t", MaxText), Names: names,
	}
	b := want.Append(nil)
	if len(b) != MaxMessage {
		t.Errorf("largest message has %d bytes, MaxMessage says %d", len(b), MaxMessage)
	}
	got, err := Parse(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("round trip: %v", err)
	}
	for i := range b[:600] {
		if _, err := Parse(b[:i]); err == nil {
			t.Fatalf("a packet cut at %d is accepted", i)
		}
	}
}
