package wire

import (
	"reflect"
	"testing"
)

// fill sets every field of v to something that is not its zero value, so that a
// field forgotten in the codec shows as a difference.
func fill(v reflect.Value, n *uint64) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field, n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.String:
		v.SetString("s" + string(rune('a'+*n%26)))
	case reflect.Bool:
		v.SetBool(true)
	default:
		v.SetUint(*n % 250)
	}
}

func TestConfigRoundTrip(t *testing.T) {
	t.Parallel()
	var want, got Config
	n := uint64(0)
	fill(reflect.ValueOf(&want).Elem(), &n)
	b := want.Marshal()
	if !got.Unmarshal(b) || !reflect.DeepEqual(want, got) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
	for i := range b { // every truncation is refused, none panics
		var c Config
		if c.Unmarshal(b[:i]) {
			t.Fatalf("accepted %d of %d bytes", i, len(b))
		}
	}
}

func TestFailureRoundTrip(t *testing.T) {
	t.Parallel()
	want := Failure{Step: "mount /proc", Errno: 13, Detail: "x", Exec: true}
	var got Failure
	if !got.Unmarshal(want.Marshal()) || got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestHeader(t *testing.T) {
	t.Parallel()
	if k, n, ok := ParseHeader(Header(FrameReady, 70000)); k != FrameReady || n != 70000 || !ok {
		t.Fatal(k, n, ok)
	}
	if _, _, ok := ParseHeader(Header(FrameReady, MaxFrame+1)); ok {
		t.Fatal("accepted a frame over MaxFrame")
	}
}
