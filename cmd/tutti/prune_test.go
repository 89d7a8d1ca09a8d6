package main

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"

	"tutti/scheduler/api"
)

// asked is a request of a prune command.
type asked struct {
	path    string
	filters map[string][]string
	all     string
}

// pruneCLI answers all prunes and notes what is asked for.
func pruneCLI(t *testing.T) (*cli, *[]asked) {
	t.Helper()
	c, log := newCLI(t), &[]asked{}
	answer := func(path string, v any) {
		c.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			a := asked{path: path, all: r.URL.Query().Get("all")}
			if err := json.Unmarshal([]byte(r.URL.Query().Get("filters")), &a.filters); err != nil {
				t.Error(err)
			}
			*log = append(*log, a)
			writeJSON(w, v)
		})
	}
	answer("/containers/prune", container.PruneReport{ContainersDeleted: []string{"c1", "c2"}, SpaceReclaimed: 1000})
	answer("/networks/prune", network.PruneReport{NetworksDeleted: []string{"n1"}})
	answer("/volumes/prune", volume.PruneReport{VolumesDeleted: []string{"v1"}, SpaceReclaimed: 20_000})
	answer("/images/prune", image.PruneReport{ImagesDeleted: []image.DeleteResponse{{Untagged: "a:1"}, {Deleted: "sha256:1"}}, SpaceReclaimed: 3_000_000})
	answer("/build/prune", build.CachePruneReport{CachesDeleted: []string{"b1"}, SpaceReclaimed: 0})
	return c, log
}

// What docker's prune commands ask, send and say.
func TestPrune(t *testing.T) {
	t.Parallel()
	none := map[string][]string{}
	for _, c := range []struct {
		args []string
		in   string
		out  string
		want []asked
	}{
		{
			[]string{"container", "prune"},
			"y\n", "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] Deleted Containers:\nc1\nc2\n\nTotal reclaimed space: 1kB\n",
			[]asked{{"/containers/prune", none, ""}},
		},
		{[]string{"container", "prune"}, "n\n", "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ", nil},
		{[]string{"network", "prune", "-f"}, "", "Deleted Networks:\nn1\n\n", []asked{{"/networks/prune", none, ""}}},
		{
			[]string{"volume", "prune", "-f", "-a", "--filter", "label!=keep"},
			"", "Deleted Volumes:\nv1\n\nTotal reclaimed space: 20kB\n",
			[]asked{{"/volumes/prune", map[string][]string{"all": {"true"}, "label!": {"keep"}}, ""}},
		},
		{
			[]string{"image", "prune", "-f", "--filter", "until=24h"},
			"", "Deleted Images:\nuntagged: a:1\ndeleted: sha256:1\n\nTotal reclaimed space: 3MB\n",
			[]asked{{"/images/prune", map[string][]string{"dangling": {"true"}, "until": {"24h"}}, ""}},
		},
		{
			[]string{"builder", "prune", "--all"}, "", "WARNING! This will remove all build cache. Are you sure you want to continue? [y/N] ", nil,
		},
		{[]string{"builder", "prune", "-af"}, "", "Deleted build cache objects:\nb1\n\nTotal reclaimed space: 0B\n", []asked{{"/build/prune", none, "1"}}},
		{
			[]string{"system", "prune", "-a", "--volumes", "--filter", "label=x"},
			"y\n",
			"WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n" +
				"  - all anonymous volumes not used by at least one container\n  - all images without at least one container associated to them\n  - all build cache\n\n" +
				"  Items to be pruned will be filtered with:\n  - label=x\n\nAre you sure you want to continue? [y/N] " +
				"Deleted Containers:\nc1\nc2\n\nDeleted Networks:\nn1\n\nDeleted Volumes:\nv1\n\nDeleted Images:\nuntagged: a:1\ndeleted: sha256:1\n\n" +
				"Deleted build cache objects:\nb1\n\nTotal reclaimed space: 3.021MB\n",
			[]asked{
				{"/containers/prune", map[string][]string{"label": {"x"}}, ""},
				{"/networks/prune", map[string][]string{"label": {"x"}}, ""},
				{"/volumes/prune", map[string][]string{"label": {"x"}}, ""},
				{"/images/prune", map[string][]string{"dangling": {"false"}, "label": {"x"}}, ""},
				{"/build/prune", map[string][]string{"label": {"x"}}, "1"},
			},
		},
	} {
		cl, log := pruneCLI(t)
		cl.in = c.in
		cl.run(c.args...).expect(t, 0, c.out, "")
		if !reflect.DeepEqual(*log, append([]asked{}, c.want...)) {
			t.Errorf("%v asked for %v, want %v", c.args, *log, c.want)
		}
	}
	cl, log := pruneCLI(t)
	cl.run("system", "prune", "--volumes", "-f", "--filter", "until=1h").expect(t, 1, "", "ERROR: The \"until\" filter is not supported with \"--volumes\"\n")
	cl.run("volume", "prune", "-a", "--filter", "all=1").expect(t, 1, "", "conflicting options: cannot specify both --all and --filter all=1\n")
	if len(*log) > 0 {
		t.Errorf("refused, and asked for %v", *log)
	}
}

func TestSystemDiskUsage(t *testing.T) {
	t.Parallel()
	used := time.Now().Add(-time.Hour)
	c := newCLI(t).answer("/system/df", map[string]any{
		"ImageUsage": image.DiskUsage{TotalCount: 2, ActiveCount: 1, TotalSize: 3_000_000, Reclaimable: 1_000_000, Items: []image.Summary{
			{ID: "sha256:" + someID, RepoTags: []string{"nginx:1"}, Size: 2_500_000, SharedSize: 500_000, Containers: 1, Created: used.Unix()},
		}},
		"ContainerUsage":  map[string]any{"TotalCount": 1, "ActiveCount": 1, "TotalSize": 10, "Items": []any{}},
		"VolumeUsage":     volume.DiskUsage{TotalCount: 1, TotalSize: 4000, Reclaimable: 4000, Items: []volume.Volume{{Name: "v", UsageData: &volume.UsageData{Size: 4000}}}},
		"BuildCacheUsage": build.DiskUsage{TotalCount: 1, TotalSize: 8000, Reclaimable: 8000, Items: []build.CacheRecord{{ID: someID, Type: "regular", Size: 8000, CreatedAt: used, LastUsedAt: &used, UsageCount: 3}}},
		"BuildCache":      []build.CacheRecord{{ID: someID, Type: "regular", Size: 8000, CreatedAt: used, LastUsedAt: &used, UsageCount: 3}},
	})
	c.run("system", "df").expect(t, 0, `TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE
Images          2         1         3MB       1MB (33%)
Containers      1         1         10B       0B (0%)
Local Volumes   1         0         4kB       4kB (100%)
Build Cache     1         0         8kB       8kB
`, "")
	c.run("system", "df", "--format", "{{.Type}} {{.Size}}").expect(t, 0, "Images 3MB\nContainers 10B\nLocal Volumes 4kB\nBuild Cache 8kB\n", "")
	c.run("system", "df", "-v").expect(t, 0, `Images space usage:

REPOSITORY   TAG       IMAGE ID       CREATED             SIZE      SHARED SIZE   UNIQUE SIZE   CONTAINERS
nginx        1         0123456789ab   About an hour ago   2.5MB     500kB         2MB           1

Containers space usage:

CONTAINER ID   IMAGE     COMMAND   LOCAL VOLUMES   SIZE      CREATED   STATUS    NAMES

Local Volumes space usage:

VOLUME NAME   LINKS     SIZE
v             0         4kB

Build cache usage: 8kB

CACHE ID       CACHE TYPE   SIZE      CREATED             LAST USED           USAGE     SHARED
0123456789ab   regular      8kB       About an hour ago   About an hour ago   3         false
`, "")
	c.run("system", "df", "-v", "--format", "{{range .Volumes}}{{.Name}} {{.Size}}{{end}}").expect(t, 0, "v 4kB\n", "")
	c.run("builder", "du").expect(t, 0, "ID"+strings.Repeat(" ", 65)+"RECLAIMABLE   SIZE      LAST ACCESSED\n"+someID+"   true          8kB       About an hour ago\nReclaimable:\t8kB\nTotal:\t\t8kB\n", "")
	c.run("builder", "du", "--filter", "type=source.local").expect(t, 0, "ID        RECLAIMABLE   SIZE      LAST ACCESSED\n", "")
}

func TestSystemCheckCommand(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.mux.HandleFunc("POST "+api.Prefix+"/check", func(w http.ResponseWriter, r *http.Request) {
		var q api.CheckRequest
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		f := api.Finding{Area: "images", Object: "sha256:1", Problem: "content is missing", Remedy: "forget it", Hint: "tutti image pull a", State: api.FindingOpen}
		if q.Repair {
			f.State = api.FindingRepaired
		}
		writeJSON(w, api.CheckReport{Checked: map[string]int{"images": 1, "volumes": 0}, Findings: []api.Finding{f}})
	})
	c.run("system", "check").expect(t, 2, `images: sha256:1: content is missing
    --repair would forget it
    then: tutti image pull a
1 finding, 0 repaired (checked: images 1, volumes 0)
`, "")
	c.run("system", "check", "--repair").expect(t, 0, `images: sha256:1: content is missing
    repaired: forget it
    then: tutti image pull a
1 finding, 1 repaired (checked: images 1, volumes 0)
`, "")
	if r := c.run("system", "check", "--format", "json"); r.code != 2 || !json.Valid([]byte(r.out.String())) {
		t.Errorf("exit code %d: %s", r.code, r.out.String())
	}
	c.run("system", "check", "--format", "xml").expect(t, 1, "", "format value \"xml\" could not be parsed: give json or table\n")
}
