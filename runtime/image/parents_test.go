package image

import (
	"fmt"
	"io"
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// With an image go those that it was made from by commits, as far as nothing else needs them; what docker 20.10 prints.
func TestImageRemoveParents(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	commit := func(base Image, name, text string) Image {
		t.Helper()
		layer := tarOf(t, entry{name: "file", data: text})
		made, err := s.Create(t.Context(), New{Base: &base, Name: name, Platform: ocispec.Platform{OS: "linux", Architecture: base.Arch}},
			func(w io.Writer) error { _, err := w.Write(layer); return err })
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	remove := func(o RemoveOptions, ref string, want ...Removal) {
		t.Helper()
		gone, err := s.Remove(t.Context(), ref, o)
		if err != nil || !slices.Equal(gone, want) {
			t.Errorf("remove %s: %v, %v; want %v", ref, gone, err, want)
		}
	}
	deleted := func(i Image) Removal { return Removal{Deleted: i.ID} }
	for n, o := range []RemoveOptions{{}, {NoPrune: true}} {
		root := load(t, s, testImage(fmt.Sprint("root", n), "root:1"))[0]
		one := commit(root, "", "one")
		two := commit(one, "", "two")
		three := commit(two, "three:1", "three")
		other := commit(one, "other:1", "other")
		if three.Parent() != two.ID || root.Parent() != "" {
			t.Errorf("parents %q and %q", three.Parent(), root.Parent())
		}
		if o.NoPrune {
			remove(o, "three:1", Removal{Untagged: "three:1"}, deleted(three))
			remove(o, two.ID, deleted(two))
			remove(o, "other:1", Removal{Untagged: "other:1"}, deleted(other))
			remove(o, one.ID, deleted(one))
		} else {
			remove(o, "three:1", Removal{Untagged: "three:1"}, deleted(three), deleted(two)) // one is other's, too
			remove(RemoveOptions{InUse: func(id string) (User, bool) { return User{ID: "c"}, id == one.ID }}, "other:1", Removal{Untagged: "other:1"}, deleted(other))
			remove(o, one.ID, deleted(one)) // root has a name
		}
		remove(o, "root:1", Removal{Untagged: "root:1"}, deleted(root))
	}
}
