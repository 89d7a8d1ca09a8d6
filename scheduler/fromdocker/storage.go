package fromdocker

import (
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"
	apimount "github.com/moby/moby/api/types/mount"

	"tutti/volumes"
)

// maxMounts bounds what one container may want mounted: the kernel's table of mounts is everybody's.
const maxMounts = 1000

func unitBytes(n int64) types.UnitBytes { return types.UnitBytes(n) }

// storage is all that is mounted: binds, mounts, tmpfs, anonymous volumes, and what other containers have.
func (w *Wanted) storage(anonymous map[string]struct{}, h Host) error {
	host := w.host
	if n := len(host.Binds) + len(host.Mounts) + len(host.Tmpfs) + len(anonymous); n > maxMounts {
		return fmt.Errorf("%d mounts are too many: a container can have %d", n, maxMounts)
	}
	if d := host.VolumeDriver; d != "" && d != volumes.DriverLocal {
		return fmt.Errorf("error looking up volume plugin %s: plugin %q not found: there is only %s", d, d, volumes.DriverLocal)
	}
	taken := map[string]bool{}
	add := func(v types.ServiceVolumeConfig) error {
		target, err := checkTarget(v.Target)
		if err != nil {
			return err
		}
		if taken[target] {
			return inWords("Duplicate mount point: %s", target)
		}
		taken[target] = true
		w.Service.Volumes = append(w.Service.Volumes, v)
		return nil
	}
	for _, text := range host.Binds {
		v, err := w.bind(text)
		if err == nil {
			err = add(v)
		}
		if err != nil {
			return err
		}
	}
	for _, m := range host.Mounts {
		if err := w.mount(m, add, taken); err != nil {
			return fmt.Errorf("invalid mount config for type %q: %w", m.Type, err)
		}
	}
	for _, target := range slices.Sorted(maps.Keys(host.Tmpfs)) {
		if err := w.tmpfs(target, host.Tmpfs[target], taken); err != nil {
			return err
		}
	}
	for _, target := range slices.Sorted(maps.Keys(anonymous)) {
		clean, err := checkTarget(target)
		if err != nil {
			return err
		}
		if !taken[clean] { // what is mounted there is
			_ = add(types.ServiceVolumeConfig{Type: types.VolumeTypeVolume, Target: target}) // neither wrong nor taken
		}
	}
	return w.volumesFrom(h)
}

// checkTarget is where something is mounted, without dots and double slashes.
func checkTarget(target string) (string, error) {
	switch clean := path.Clean(target); {
	case !path.IsAbs(target):
		return "", fmt.Errorf("invalid mount path: '%s' mount path must be absolute", target)
	case clean == "/":
		return "", fmt.Errorf("invalid specification: destination can't be '/'")
	default:
		return clean, nil
	}
}

// volumeNames is docker's rule.
var volumeNames = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`) })

func (w *Wanted) named(name string) error {
	if len(name) > 255 || !volumeNames().MatchString(name) {
		return fmt.Errorf("%q includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path", name)
	}
	if w.Project.Volumes == nil {
		w.Project.Volumes = types.Volumes{}
	}
	w.Project.Volumes[name] = types.VolumeConfig{Name: name}
	return nil
}

// bind reads an entry of Binds: [SOURCE:]TARGET[:MODE], where SOURCE is a folder of the host or a volume.
func (w *Wanted) bind(text string) (v types.ServiceVolumeConfig, err error) {
	parts := strings.Split(text, ":")
	var mode string
	switch {
	case len(parts) == 1:
		v.Target = parts[0]
	case len(parts) == 2 && isMode(parts[1]) && path.IsAbs(parts[0]) && !path.IsAbs(parts[1]):
		v.Target, mode = parts[0], parts[1]
	case len(parts) == 2:
		v.Source, v.Target = parts[0], parts[1]
	case len(parts) == 3:
		v.Source, v.Target, mode = parts[0], parts[1], parts[2]
	default:
		return v, fmt.Errorf("invalid volume specification: '%s'", text)
	}
	if v.Target == "" || len(parts) > 1 && v.Source == "" && mode == "" {
		return v, fmt.Errorf("invalid volume specification: '%s'", text)
	}
	v.Type = types.VolumeTypeVolume
	switch {
	case path.IsAbs(v.Source):
		v.Type, v.Source = types.VolumeTypeBind, path.Clean(v.Source)
		v.Bind = &types.ServiceVolumeBind{CreateHostPath: true}
	case v.Source != "":
		if err := w.named(v.Source); err != nil {
			return v, err
		}
	}
	return v, bindMode(&v, mode, text)
}

var propagations = []string{"private", "rprivate", "shared", "rshared", "slave", "rslave"}

// isMode tells whether a text is a list of the words that a mode is made of.
func isMode(text string) bool {
	for word := range strings.SplitSeq(text, ",") {
		switch word {
		case "ro", "rw", "z", "Z", "nocopy", "consistent", "cached", "delegated", "default":
		default:
			if !slices.Contains(propagations, word) {
				return false
			}
		}
	}
	return true
}

func bindMode(v *types.ServiceVolumeConfig, mode, text string) error {
	if mode == "" {
		return nil
	}
	if !isMode(mode) {
		return fmt.Errorf("invalid mode: %s in the volume specification '%s'", mode, text)
	}
	for word := range strings.SplitSeq(mode, ",") {
		switch {
		case word == "ro":
			v.ReadOnly = true
		case word == "nocopy":
			if v.Type != types.VolumeTypeVolume {
				return fmt.Errorf("invalid mode: %s: nocopy is for volumes", mode)
			}
			v.Volume = &types.ServiceVolumeVolume{NoCopy: true}
		case slices.Contains(propagations, word):
			if v.Type != types.VolumeTypeBind {
				return fmt.Errorf("invalid mode: %s: propagation is for binds of the host's folders", mode)
			}
			v.Bind.Propagation = word
		}
	}
	return nil
}

// mount reads an entry of Mounts.
func (w *Wanted) mount(m apimount.Mount, add func(types.ServiceVolumeConfig) error, taken map[string]bool) error {
	v := types.ServiceVolumeConfig{Type: string(m.Type), Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
	for _, o := range []struct {
		kind apimount.Type
		name string
		set  bool
	}{
		{apimount.TypeBind, "BindOptions", m.BindOptions != nil},
		{apimount.TypeVolume, "VolumeOptions", m.VolumeOptions != nil},
		{apimount.TypeTmpfs, "TmpfsOptions", m.TmpfsOptions != nil},
		{apimount.TypeImage, "ImageOptions", m.ImageOptions != nil},
	} {
		if o.set && o.kind != m.Type {
			return fmt.Errorf("%s must not be specified", o.name)
		}
	}
	switch m.Type {
	case apimount.TypeBind:
		if err := bindOptions(&v, m); err != nil {
			return err
		}
	case apimount.TypeVolume:
		if err := w.volumeOptions(&v, m); err != nil {
			return err
		}
	case apimount.TypeImage:
		if m.Source == "" {
			return fmt.Errorf("field Source must not be empty")
		}
		v.Image = &types.ServiceVolumeImage{}
		if m.ImageOptions != nil {
			if strings.Contains("/"+m.ImageOptions.Subpath+"/", "/../") {
				return fmt.Errorf("subpath must be a relative path within the image")
			}
			v.Image.SubPath = m.ImageOptions.Subpath
		}
	case apimount.TypeTmpfs:
		options, err := tmpfsOptions(m)
		if err != nil {
			return err
		}
		return w.tmpfs(m.Target, options, taken)
	default:
		return fmt.Errorf("mount type unknown, use bind, volume, tmpfs or image")
	}
	return add(v)
}

func bindOptions(v *types.ServiceVolumeConfig, m apimount.Mount) error {
	if !path.IsAbs(m.Source) {
		return fmt.Errorf("invalid mount path: '%s' mount path must be absolute", m.Source)
	}
	v.Source, v.Bind = path.Clean(m.Source), &types.ServiceVolumeBind{}
	o := m.BindOptions
	if o == nil {
		o = &apimount.BindOptions{}
	}
	if o.Propagation != "" && !slices.Contains(apimount.Propagations, o.Propagation) {
		return fmt.Errorf("invalid propagation mode: %s", o.Propagation)
	}
	v.Bind.Propagation, v.Bind.CreateHostPath = string(o.Propagation), types.OptOut(o.CreateMountpoint)
	switch {
	case o.NonRecursive:
		v.Bind.Recursive = "disabled"
	case o.ReadOnlyNonRecursive && o.ReadOnlyForceRecursive:
		return inWords("ReadOnlyNonRecursive and ReadOnlyForceRecursive are mutually exclusive")
	case (o.ReadOnlyNonRecursive || o.ReadOnlyForceRecursive) && !m.ReadOnly:
		return inWords("ReadOnlyNonRecursive and ReadOnlyForceRecursive need ReadOnly")
	case o.ReadOnlyNonRecursive:
		v.Bind.Recursive = "writable"
	case o.ReadOnlyForceRecursive:
		v.Bind.Recursive = "readonly"
	}
	if _, err := os.Stat(v.Source); err != nil && !o.CreateMountpoint {
		return fmt.Errorf("bind source path does not exist: %s", m.Source)
	}
	return nil
}

func (w *Wanted) volumeOptions(v *types.ServiceVolumeConfig, m apimount.Mount) error {
	o := m.VolumeOptions
	if o == nil {
		o = &apimount.VolumeOptions{}
	}
	v.Volume = &types.ServiceVolumeVolume{NoCopy: o.NoCopy, Subpath: o.Subpath}
	if m.Source == "" {
		if o.Subpath != "" {
			return fmt.Errorf("must not set Subpath when using anonymous volumes")
		}
		if len(o.Labels) > 0 || o.DriverConfig != nil && len(o.DriverConfig.Options) > 0 {
			return fmt.Errorf("labels and driver options are for volumes with a name: name it in Source")
		}
	} else if err := w.named(m.Source); err != nil {
		return err
	}
	if o.Subpath != "" && (path.IsAbs(o.Subpath) || strings.Contains("/"+o.Subpath+"/", "/../")) {
		return fmt.Errorf("subpath must be a relative path within the volume")
	}
	spec := volumes.Spec{Name: m.Source, Labels: o.Labels}
	if d := o.DriverConfig; d != nil {
		if d.Name != "" && d.Name != volumes.DriverLocal {
			return fmt.Errorf("plugin %q not found: there is only the driver %s", d.Name, volumes.DriverLocal)
		}
		spec.DriverOpts = d.Options
	}
	if len(spec.Labels) > 0 || len(spec.DriverOpts) > 0 {
		w.Volumes = append(w.Volumes, spec)
	}
	return nil
}

// tmpfs adds a tmpfs in compose's short form, which knows all options.
func (w *Wanted) tmpfs(target, options string, taken map[string]bool) error {
	clean, err := checkTarget(target)
	switch {
	case err != nil:
		return err
	case strings.Contains(target, ":"):
		return fmt.Errorf("invalid mount path: '%s' has a colon", target)
	case taken[clean]:
		return inWords("Duplicate mount point: %s", clean)
	}
	taken[clean] = true
	if options != "" {
		clean += ":" + options
	}
	w.Service.Tmpfs = append(w.Service.Tmpfs, clean)
	return nil
}

// tmpfsOptions are the options of a mount as one text.
func tmpfsOptions(m apimount.Mount) (string, error) {
	if m.Source != "" {
		return "", fmt.Errorf("field Source must not be specified")
	}
	var all []string
	if m.ReadOnly {
		all = append(all, "ro")
	}
	if o := m.TmpfsOptions; o != nil {
		if o.SizeBytes < 0 || o.Mode&^0o7777 != 0 {
			return "", inWords("TmpfsOptions: no such size or mode")
		}
		if o.SizeBytes > 0 {
			all = append(all, "size="+strconv.FormatInt(o.SizeBytes, 10))
		}
		if o.Mode != 0 {
			all = append(all, "mode="+strconv.FormatUint(uint64(o.Mode), 8))
		}
		for _, pair := range o.Options {
			if len(pair) == 0 || len(pair) > 2 || strings.Contains(strings.Join(pair, ""), ",") {
				return "", inWords("TmpfsOptions.Options: %q is no option", pair)
			}
			all = append(all, strings.Join(pair, "="))
		}
	}
	return strings.Join(all, ","), nil
}

// volumesFrom are containers whose volumes and binds this one has, too.
func (w *Wanted) volumesFrom(h Host) error {
	for _, text := range w.host.VolumesFrom {
		name, mode, hasMode := strings.Cut(text, ":")
		if name == "" || hasMode && (!isMode(mode) || mode == "") {
			return fmt.Errorf("invalid volumes-from specification: '%s'", text)
		}
		id, err := h.Container(name)
		if err != nil {
			return inWords("VolumesFrom: %w", err)
		}
		entry := "container:" + id
		if slices.Contains(strings.Split(mode, ","), "ro") {
			entry += ":ro"
		}
		w.Service.VolumesFrom = append(w.Service.VolumesFrom, entry)
	}
	return nil
}
