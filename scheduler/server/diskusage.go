package server

import (
	"context"
	"net/http"
	"slices"

	apibuild "github.com/moby/moby/api/types/build"
	apiimage "github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/system"
	apivolume "github.com/moby/moby/api/types/volume"

	"tutti/scheduler/api"
)

func (s *server) usageRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /system/df", s.diskUsage)
	mux.HandleFunc("POST /build/prune", s.pruneBuildCache)
	mux.HandleFunc("POST /containers/prune", s.pruneContainers)
	mux.HandleFunc("POST /volumes/prune", s.pruneVolumes)
	mux.HandleFunc("GET /info", s.info)
	mux.HandleFunc("POST "+api.Prefix+"/check", func(w http.ResponseWriter, r *http.Request) {
		q, ok := read[api.CheckRequest](w, r)
		if !ok {
			return
		}
		report, err := s.e.Check(r.Context(), q)
		reply(w, report, err)
	})
}

// diskUsage is docker's answer in both its forms: the newer one with sums per kind, and the lists of clients before 1.52.
type diskUsage struct {
	system.DiskUsage
	LayersSize int64
	Images     []apiimage.Summary
	Containers []containerSummary
	Volumes    []apivolume.Volume
	BuildCache []apibuild.CacheRecord

	// Takes the place of the one in system.DiskUsage, whose containers only docker itself can fill.
	ContainerUsage *containerUsage `json:",omitempty"`
}

type containerUsage struct {
	ActiveCount, TotalCount, TotalSize, Reclaimable int64
	Items                                           []containerSummary
}

// diskUsage answers GET /system/df; type chooses kinds, several times.
func (s *server) diskUsage(w http.ResponseWriter, r *http.Request) {
	u := &diskUsage{Images: []apiimage.Summary{}, Containers: []containerSummary{}, Volumes: []apivolume.Volume{}, BuildCache: []apibuild.CacheRecord{}}
	wanted := r.URL.Query()["type"]
	for kind, add := range map[system.DiskUsageObject]func(context.Context, *diskUsage) error{
		system.ImageObject: s.addImages, system.ContainerObject: s.addContainers, system.VolumeObject: s.addVolumes, system.BuildCacheObject: s.addBuildCache,
	} {
		if len(wanted) > 0 && !slices.Contains(wanted, string(kind)) {
			continue
		}
		if err := add(r.Context(), u); err != nil {
			failWith(w, err)
			return
		}
	}
	answer(w, u)
}

// addImages counts as reclaimable what goes when all images go that no container has: not what those share with others.
func (s *server) addImages(ctx context.Context, u *diskUsage) error {
	usage, err := s.e.ImageUsage(ctx)
	if err != nil {
		return err
	}
	users := s.e.ImageUsers()
	sum := &apiimage.DiskUsage{
		TotalCount: int64(len(usage.Images)), TotalSize: usage.Total,
		Reclaimable: usage.Unneeded(func(id string) bool { return users[id] > 0 }),
	}
	for _, i := range usage.Images {
		j := imageSummary(i.Image, users[i.Image.ID])
		j.Size, j.SharedSize = i.Size, i.Shared
		u.Images = append(u.Images, j)
		if j.Containers > 0 {
			sum.ActiveCount++
		}
	}
	sum.Items, u.LayersSize, u.ImageUsage = u.Images, usage.Total, sum
	return nil
}

func (s *server) addContainers(ctx context.Context, u *diskUsage) error {
	list, err := s.e.ContainerUsage(ctx)
	if err != nil {
		return err
	}
	sum := &containerUsage{TotalCount: int64(len(list))}
	for _, c := range list {
		config, st, err := s.e.Inspect(c.ID)
		if err != nil {
			continue // removed meanwhile
		}
		j := s.summaryOf(c.Container, &config, st)
		j.SizeRw, j.SizeRootFs = c.Size, c.Size+s.imageSize(ctx, c.ImageID)
		sum.TotalSize += c.Size
		if isActive(c.State) {
			sum.ActiveCount++
		} else {
			sum.Reclaimable += c.Size
		}
		u.Containers = append(u.Containers, j)
	}
	sum.Items, u.ContainerUsage = u.Containers, sum
	return nil
}

// isActive tells which containers docker counts as running.
func isActive(state string) bool {
	return state == "running" || state == "paused" || state == "restarting"
}

func (s *server) addVolumes(ctx context.Context, u *diskUsage) error {
	list, err := s.e.VolumeUsage(ctx)
	if err != nil {
		return err
	}
	sum := &apivolume.DiskUsage{TotalCount: int64(len(list))}
	for _, v := range list {
		j := volumeJSON(v.Volume)
		j.UsageData = &apivolume.UsageData{RefCount: int64(v.Users), Size: v.Size}
		sum.TotalSize += v.Size
		if v.Users > 0 {
			sum.ActiveCount++
		} else {
			sum.Reclaimable += v.Size
		}
		u.Volumes = append(u.Volumes, j)
	}
	sum.Items, u.VolumeUsage = u.Volumes, sum
	return nil
}

// addBuildCache leaves out of the sums what images have, too, as docker does.
func (s *server) addBuildCache(ctx context.Context, u *diskUsage) error {
	list, err := s.e.BuildCache(ctx)
	if err != nil {
		return err
	}
	sum := &apibuild.DiskUsage{TotalCount: int64(len(list))}
	for _, c := range list {
		u.BuildCache = append(u.BuildCache, apibuild.CacheRecord{
			ID: c.ID, Parents: c.Parents, Type: string(c.RecordType), Description: c.Description, InUse: c.InUse, Shared: c.Shared,
			Size: c.Size, CreatedAt: c.CreatedAt, LastUsedAt: c.LastUsedAt, UsageCount: c.UsageCount,
		})
		if c.InUse {
			sum.ActiveCount++
		}
		if c.Shared {
			continue
		}
		sum.TotalSize += c.Size
		if !c.InUse {
			sum.Reclaimable += c.Size
		}
	}
	sum.Items, u.BuildCacheUsage = u.BuildCache, sum
	return nil
}
