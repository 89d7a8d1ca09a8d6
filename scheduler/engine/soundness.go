package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/boltcheck"
	"tutti/runtime/build"
	"tutti/runtime/image"
	"tutti/runtime/statefile"
	"tutti/scheduler/api"
	"tutti/scheduler/checkup"
	"tutti/scheduler/container"
	"tutti/scheduler/layout"
	"tutti/volumes"
)

// Check compares everything that the engine keeps with everything else and with the kernel; with repair it mends what it
// can. Data of users, such as volumes, is never removed.
func (e *Engine) Check(ctx context.Context, q api.CheckRequest) (api.CheckReport, error) {
	areas := []checkup.Area{
		{Name: "images", Look: func(ctx context.Context) ([]checkup.Fault, int, error) { return e.lookAtImages(ctx, q.KeepAside) }},
		{Name: "build cache", Look: e.lookAtBuildCache},
		{Name: "containers", Look: e.lookAtContainers},
		{Name: "volumes", Look: e.lookAtVolumes},
		{Name: "networks", Look: e.lookAtNetworks},
		{Name: "files", Look: e.lookAtFiles},
		{Name: "host", Look: e.lookAtHost},
	}
	if q.Deep {
		areas = append(areas, checkup.Area{Name: "layers", Look: e.lookAtLayers})
	}
	return checkup.Run(ctx, areas, q.Repair)
}

// CheckDatabases is the part of a check that is for when no engine runs: whether one could open its databases. It finds
// nothing when an engine runs after all, or starts just now.
func CheckDatabases(ctx context.Context, paths layout.Paths, repair bool) (api.CheckReport, error) {
	nothing := api.CheckReport{Checked: map[string]int{}, Findings: []api.Finding{}}
	if _, err := os.Stat(paths.Root); errors.Is(err, os.ErrNotExist) {
		return nothing, nil
	}
	unlock, err := lockRootFor(ctx, paths, engineEnds)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nothing, nil
	}
	if err != nil {
		return nothing, err
	}
	defer unlock()
	return checkup.Run(ctx, []checkup.Area{checkup.Databases(paths.Images(), image.Databases(paths.Images()))}, repair)
}

// engineEnds is how long an engine that nobody can ask any more may take to end.
const engineEnds = 500 * time.Millisecond

func (e *Engine) lookAtImages(ctx context.Context, keepAside bool) ([]checkup.Fault, int, error) {
	list, err := e.ImageStore.List(ctx)
	if err != nil {
		return nil, 0, err
	}
	found, err := e.ImageStore.Verify(ctx, func(id string) bool { _, used := e.imageUser(id); return used })
	var faults []checkup.Fault
	for _, f := range found {
		faults = append(faults, checkup.Fault{Object: f.Object, Problem: f.Problem, Remedy: f.Remedy, Hint: f.Hint, Repair: f.Repair})
	}
	if aside := e.Paths.Images() + checkup.DamagedSuffix; err == nil && !keepAside {
		faults = append(faults, e.setAside(aside)...)
	}
	return faults, len(list), err
}

// setAside finds the image store that an engine, or a repair, has set aside.
func (e *Engine) setAside(aside string) []checkup.Fault {
	if _, err := os.Lstat(aside); err != nil {
		return nil
	}
	f := checkup.Fault{Object: aside, Problem: "an image store that was damaged is set aside"}
	for _, u := range e.SelectUnits(func(*container.Config) bool { return true }) {
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", u.Snapshot().Pid))
		// The layers are mounted by the name that the folder had: those that no store has now.
		if s := u.Snapshot(); s.Alive() && (err != nil || strings.Contains(string(table), e.Paths.Images()+"/snapshots/")) && s.Started.Before(modTime(aside)) {
			f.Hint = "stop container " + u.Name() + ", which runs from it, and check again"
			return []checkup.Fault{f}
		}
	}
	f.Remedy = "remove it"
	f.Repair = func(context.Context) error { return os.RemoveAll(aside) }
	return []checkup.Fault{f}
}

// modTime is when a folder was last changed, now when that is not known.
func modTime(path string) time.Time {
	st, err := os.Stat(path)
	if err != nil {
		return time.Now()
	}
	return st.ModTime()
}

func (e *Engine) lookAtBuildCache(ctx context.Context) ([]checkup.Fault, int, error) {
	if !e.Builder.IsOpen() {
		for _, path := range build.Databases(e.Paths.Builder()) {
			err := boltcheck.Check(path, time.Second)
			if errors.Is(err, boltcheck.ErrDamaged) {
				return []checkup.Fault{{Object: path, Problem: err.Error(), Remedy: "throw the build cache away", Repair: func(context.Context) error {
					_, err := e.Builder.Open() // it throws away what it cannot read
					return err
				}}}, 0, nil
			}
		}
	}
	b, err := e.Builder.OpenIfAny()
	if b == nil {
		return nil, 0, err
	}
	records, err := b.Usage(ctx)
	if err != nil {
		return nil, 0, err
	}
	found, err := b.Verify(ctx)
	var faults []checkup.Fault
	for _, f := range found {
		faults = append(faults, checkup.Fault{Object: f.Record, Problem: f.Problem, Remedy: "forget the record, builds make it anew", Fleeting: true, Repair: func(ctx context.Context) error {
			return b.Forget(ctx, []string{f.Record})
		}})
	}
	return faults, len(records), err
}

func (e *Engine) lookAtContainers(ctx context.Context) ([]checkup.Fault, int, error) {
	entries, err := os.ReadDir(e.Paths.Containers())
	if err != nil {
		return nil, 0, err
	}
	var faults []checkup.Fault
	for _, d := range entries {
		dir := e.Paths.Container(d.Name())
		e.mu.Lock()
		u := e.units[d.Name()]
		e.mu.Unlock()
		if u == nil {
			faults = append(faults, checkup.Fault{Object: dir, Problem: "folder of a container that nobody knows", Remedy: "remove it", Fleeting: true, Repair: func(context.Context) error {
				return e.discard(dir)
			}})
			continue
		}
		faults = append(faults, e.lookAtContainer(ctx, u)...)
	}
	all := e.SelectUnits(func(*container.Config) bool { return true })
	for _, u := range all {
		if !slices.ContainsFunc(entries, func(d os.DirEntry) bool { return d.Name() == u.ID }) {
			faults = append(faults, checkup.Fault{
				Object: u.Name(), Problem: "the container's folder " + u.dir + " is missing", Fleeting: true,
				Hint: "remove the container: tutti rm, or docker rm -f " + u.Name(),
			})
		}
	}
	return faults, len(all), nil
}

// lookAtContainer looks at the record, the folders and the image of a container.
func (e *Engine) lookAtContainer(ctx context.Context, u *Unit) (faults []checkup.Fault) {
	add := func(f checkup.Fault) {
		f.Object, f.Fleeting = u.Name(), true
		faults = append(faults, f)
	}
	if _, damage, err := readRecord(u.dir); damage != nil || err != nil {
		add(checkup.Fault{Problem: "the container's record is damaged: " + errors.Join(damage, err).Error(), Remedy: "write it again", Repair: func(context.Context) error {
			u.mu.Lock()
			defer u.mu.Unlock()
			return u.write(u.state)
		}})
	}
	for _, dir := range []string{u.upper(), u.work()} {
		if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
			add(checkup.Fault{
				Problem: "the container's folder " + dir + " is missing: what the container had written is lost", Remedy: "make an empty one",
				Repair: func(context.Context) error { return makeLayerFolder(u, dir) },
			})
		}
	}
	if u.Config.ImageID == "" {
		return faults
	}
	if _, err := e.ImageStore.Get(ctx, u.Config.ImageID); errors.Is(err, image.ErrNotFound) {
		add(checkup.Fault{Problem: fmt.Sprintf("the container's image %s (%s) is gone: it cannot be started again", u.Config.Image, u.Config.ImageID), Hint: "pull, load or build " + u.Config.Image + " again"})
	}
	return faults
}

// makeLayerFolder makes a folder as the container's creation does.
func makeLayerFolder(u *Unit, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if dir == u.upper() {
		return os.Chmod(dir, 0o755) //nolint:gosec // the container's root: everybody in it may look
	}
	return nil
}

// lookAtVolumes never removes anything: data is the users'.
func (e *Engine) lookAtVolumes(context.Context) ([]checkup.Fault, int, error) {
	list, err := e.VolumeStore.List()
	if err != nil {
		return nil, 0, err
	}
	var faults []checkup.Fault
	for _, v := range list {
		if v.Damaged {
			faults = append(faults, checkup.Fault{
				Object: v.Name, Problem: "what the volume was made from is not known any more; its data is there", Remedy: "write down that it is a volume without options",
				Hint: "if it had driver_opts, `tutti up` with the compose file says them again", Repair: func(context.Context) error {
					_, err := e.MakeVolume(volumes.Spec{Name: v.Name})
					return err
				},
			})
		}
		if st, err := os.Lstat(v.Path); err != nil || !st.IsDir() {
			faults = append(faults, checkup.Fault{
				Object: v.Name, Problem: "the volume's data " + v.Path + " is missing", Remedy: "make an empty folder", Fleeting: true,
				Repair: func(context.Context) error { return os.Mkdir(v.Path, 0o755) }, //nolint:gosec // as volumes are made
			})
		}
	}
	entries, err := os.ReadDir(e.Paths.Volumes())
	if err != nil {
		return faults, len(list), err
	}
	for _, d := range entries {
		known := strings.HasPrefix(d.Name(), ".") || slices.ContainsFunc(list, func(v volumes.Volume) bool { return v.Name == d.Name() })
		if !known && d.IsDir() {
			faults = append(faults, checkup.Fault{
				Object: filepath.Join(e.Paths.Volumes(), d.Name()), Problem: "folder without the file that makes it a volume; it may hold data", Fleeting: true,
				Remedy: "make it a volume again", Repair: func(context.Context) error { return e.adoptVolume(d.Name()) },
			})
		}
	}
	return faults, len(list), nil
}

// adoptVolume writes the file of a volume that lies there without one.
func (e *Engine) adoptVolume(name string) error {
	dir := filepath.Join(e.Paths.Volumes(), name)
	if err := os.MkdirAll(filepath.Join(dir, "_data"), 0o755); err != nil { //nolint:gosec // as volumes are made
		return err
	}
	return statefile.WriteSync(filepath.Join(dir, "volume.json"), volumes.Volume{Spec: volumes.Spec{Name: name, Driver: volumes.DriverLocal}, CreatedAt: time.Now().UTC()})
}

func (e *Engine) lookAtNetworks(ctx context.Context) ([]checkup.Fault, int, error) {
	found, err := e.NetDriver.Check(ctx)
	var faults []checkup.Fault
	for _, f := range found {
		faults = append(faults, checkup.Fault{Object: f.Object, Problem: f.Problem, Remedy: f.Remedy, Hint: f.Hint, Fleeting: true, Repair: func(ctx context.Context) error {
			if err := e.quiet(); err != nil {
				return err
			}
			return f.Repair(ctx)
		}})
	}
	_, damaged := e.configs().All()
	if damaged != nil { // what it said is nowhere else
		faults = append(faults, checkup.Fault{Object: e.Paths.NetworkConfigs(), Problem: damaged.Error()})
	}
	return faults, len(e.Networks()), err
}
