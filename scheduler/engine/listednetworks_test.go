package engine

import (
	"errors"
	"testing"

	"tutti/netdriver"
	"tutti/scheduler/layout"
)

func TestFindNetwork(t *testing.T) {
	t.Parallel()
	e := &Engine{Paths: layout.Paths{Root: t.TempDir()}, networks: map[string]netdriver.Network{}}
	for name, id := range map[string]string{"a": "abcd01", "b": "abcd02", "abcd": "ffff00"} {
		e.networks[name] = netdriver.Network{NetworkSpec: netdriver.NetworkSpec{ID: id, Name: name}}
	}
	tests := []struct {
		ref, want string
		err       error
	}{
		{ref: "a", want: "a"},
		{ref: "abcd", want: "abcd"},
		{ref: "abcd01", want: "a"},
		{ref: "ffff", want: "abcd"},
		{ref: "abcd0", err: ErrConflict},
		{ref: "fff", err: ErrNoSuch},
		{ref: "host", want: "host"},
		{ref: "", err: ErrNoSuch},
	}
	for _, tt := range tests {
		if n, err := e.FindNetwork(tt.ref); n.Name != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q: %q %v, want %q %v", tt.ref, n.Name, err, tt.want, tt.err)
		}
	}
}
