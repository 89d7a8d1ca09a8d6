package image

import (
	"errors"
	"slices"
	"testing"
	"time"

	"tutti/runtime/image/imagetest"
)

func TestImageListFiltered(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	day := func(n int) time.Time { return time.Date(2024, 1, n, 0, 0, 0, 0, time.UTC) }
	for n, names := range [][]string{{"app:v1", "app:v2", "host.example/team/app:v1"}, {"db:15"}, {"moved"}} {
		image := testImage(names[0], names...)
		image.Created = day(n + 1)
		image.Config.Labels = map[string]string{"stage": names[0], "tier": "x"}
		load(t, s, image)
	}
	again := testImage("other", "moved")
	again.Created = day(9)
	load(t, s, again) // the one before is dangling now
	yes, no := true, false
	for _, c := range []struct {
		name   string
		filter Filter
		want   []string
	}{
		{"none", Filter{}, []string{"moved:latest", "", "db:15", "app:v1", "app:v2", "host.example/team/app:v1"}},
		{"dangling", Filter{Dangling: &yes}, []string{""}},
		{"not dangling", Filter{Dangling: &no}, []string{"moved:latest", "db:15", "app:v1", "app:v2", "host.example/team/app:v1"}},
		{"label", Filter{Labels: []string{"stage=db:15"}}, []string{"db:15"}},
		{"labels", Filter{Labels: []string{"tier", "stage=app:v1"}}, []string{"app:v1", "app:v2", "host.example/team/app:v1"}},
		{"reference, a name", Filter{References: []string{"app"}}, []string{"app:v1", "app:v2"}},
		{"reference, a tag", Filter{References: []string{"app:v1", "db:*"}}, []string{"db:15", "app:v1"}},
		{"reference, a pattern", Filter{References: []string{"*/*/*"}}, []string{"host.example/team/app:v1"}},
		{"before", Filter{Before: "db:15"}, []string{"app:v1", "app:v2", "host.example/team/app:v1"}},
		{"since", Filter{Since: "db:15"}, []string{"moved:latest", ""}},
		{"until", Filter{Until: day(2)}, []string{"app:v1", "app:v2", "host.example/team/app:v1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			list, err := s.ListFiltered(t.Context(), c.filter)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, image := range list {
				if len(image.Names) == 0 {
					got = append(got, "")
				}
				got = append(got, image.Names...)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if _, err := s.ListFiltered(t.Context(), Filter{Before: "absent"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("before an image that there is not: %v", err)
	}
	for _, bad := range []map[string][]string{{"dangling": {"maybe"}}, {"reference": {"["}}} {
		if _, err := ParseFilter(bad, time.Time{}); !errors.Is(err, ErrFilter) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// Layers that images share take their place once, and go with the last image that has them.
func TestImageUsage(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	usage := func() Usage {
		t.Helper()
		u, err := s.Usage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	large := []imagetest.File{{Path: "large", Body: string(make([]byte, 1<<20))}}
	with := func(name string, own int) imagetest.Image {
		return imagetest.Image{Names: []string{name}, Layers: [][]imagetest.File{large, {{Path: "own", Body: string(make([]byte, own))}}}}
	}
	one := load(t, s, with("one", 100_000))[0]
	alone := usage().Total
	two := load(t, s, with("two", 300_000))[0]
	u := usage()
	if grown := u.Total - alone; grown < 600_000 || grown > 700_000 { // unpacked and as it came
		t.Errorf("a second image with the same large layer takes %d bytes", grown)
	}
	for _, i := range u.Images {
		own := map[string]int64{one.ID: 200_000, two.ID: 600_000}[i.Image.ID]
		if i.Shared < 2<<20 || i.Size-i.Shared < own || i.Size-i.Shared > own+50_000 {
			t.Errorf("%s: %d bytes, of which %d shared", i.Image.Names, i.Size, i.Shared)
		}
	}
	if all := u.Unneeded(func(string) bool { return false }); all != u.Total {
		t.Errorf("without a need %d of %d bytes can go", all, u.Total)
	}
	free := u.Unneeded(func(id string) bool { return id == one.ID })
	if free < 600_000 || free > 700_000 {
		t.Errorf("%d bytes can go when one image is needed", free)
	}
	before, err := s.DiskUsage(t.Context())
	if err != nil || before < u.Total || before > u.Total+4096 { // an archive's own index is nobody's
		t.Errorf("everything takes %d bytes, the images %d: %v", before, u.Total, err)
	}
	if _, err := s.Remove(t.Context(), "two", RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.GarbageCollect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := usage().Total; now != alone {
		t.Errorf("after the removal %d bytes, before it %d", now, alone)
	}
}
