package createflags

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	apicontainer "github.com/moby/moby/api/types/container"
	apimount "github.com/moby/moby/api/types/mount"
)

func (f *Flags) storageOf(u User, r *apicontainer.CreateRequest) error {
	h := r.HostConfig
	h.VolumesFrom, h.VolumeDriver = f.volumesFrom, f.volumeDriver
	h.LogConfig = apicontainer.LogConfig{Type: f.logDriver, Config: pairs(f.logOptions)}
	if f.logDriver == "none" && len(f.logOptions) > 0 {
		return errors.New("invalid logging opts for driver none")
	}
	if f.shmSize != "" {
		n, err := units.RAMInBytes(f.shmSize)
		if err != nil {
			return fmt.Errorf("invalid argument %q for \"--shm-size\" flag: %w", f.shmSize, err)
		}
		h.ShmSize = n
	}
	for _, text := range f.volumes {
		source, rest, ok := strings.Cut(text, ":")
		switch {
		case !ok: // a volume of its own
			if r.Config.Volumes == nil {
				r.Config.Volumes = map[string]struct{}{}
			}
			r.Config.Volumes[text] = struct{}{}
			continue
		case strings.HasPrefix(source, ".") || strings.HasPrefix(source, "~"):
			if home, there := u.Env("HOME"); there && (source == "~" || strings.HasPrefix(source, "~/")) {
				source = home + source[1:]
			}
			source = u.path(source)
		}
		h.Binds = append(h.Binds, source+":"+rest)
	}
	for _, text := range f.tmpfs {
		target, options, _ := strings.Cut(text, ":")
		if h.Tmpfs == nil {
			h.Tmpfs = map[string]string{}
		}
		h.Tmpfs[target] = options
	}
	for _, text := range f.mounts {
		m, err := u.mount(text)
		if err != nil {
			return fmt.Errorf("invalid argument %q for \"--mount\" flag: %w", text, err)
		}
		h.Mounts = append(h.Mounts, m)
	}
	return nil
}

// mountFlag is what --mount says, of each kind.
type mountFlag struct {
	apimount.Mount
	bind   apimount.BindOptions
	volume apimount.VolumeOptions
	tmpfs  apimount.TmpfsOptions
	driver apimount.Driver
	image  apimount.ImageOptions
}

// mount reads --mount: type=bind,source=...,target=... and so on.
func (u User) mount(text string) (apimount.Mount, error) {
	m := mountFlag{Mount: apimount.Mount{Type: apimount.TypeVolume}}
	list, err := fieldsOf("mount", text)
	if err != nil {
		return m.Mount, err
	}
	used := map[string]bool{}
	for _, fd := range list {
		kind, _, _ := strings.Cut(fd.key, "-")
		used[kind] = true
		switch {
		case !fd.hasValue && !isSwitch[fd.key]:
			return m.Mount, fmt.Errorf("invalid field '%s' must be a key=value pair", fd.key)
		case fd.hasValue && fd.value == "":
			return m.Mount, fmt.Errorf("invalid value for '%s': value is empty", fd.key)
		}
		if err := m.set(u, fd); err != nil {
			return m.Mount, err
		}
	}
	if m.driver.Name != "" || len(m.driver.Options) > 0 {
		m.volume.DriverConfig = &m.driver
	}
	if used["bind"] {
		m.BindOptions = &m.bind
	}
	if used["volume"] {
		m.VolumeOptions = &m.volume
	}
	if used["tmpfs"] {
		m.TmpfsOptions = &m.tmpfs
	}
	if used["image"] {
		m.ImageOptions = &m.image
	}
	return m.Mount, checkMount(m.Mount)
}

// set reads one field of --mount.
func (m *mountFlag) set(u User, fd field) (err error) {
	switch fd.key {
	case "type":
		m.Type = apimount.Type(strings.ToLower(fd.value))
	case "source", "src":
		m.Source = fd.value
		if strings.HasPrefix(fd.value, ".") {
			m.Source = filepath.Clean(u.path(fd.value))
		}
	case "target", "dst", "destination":
		m.Target = fd.value
	case "readonly", "ro":
		m.ReadOnly, err = fd.on()
	case "consistency":
		m.Consistency = apimount.Consistency(strings.ToLower(fd.value))
	default:
		return m.option(fd)
	}
	return err
}

// option reads a field that is for mounts of one kind.
func (m *mountFlag) option(fd field) (err error) {
	switch fd.key {
	case "bind-propagation":
		m.bind.Propagation = apimount.Propagation(strings.ToLower(fd.value))
	case "bind-nonrecursive":
		err = errors.New("bind-nonrecursive is deprecated, use bind-recursive=disabled instead")
	case "bind-recursive":
		err = recursive(&m.bind, fd.value)
	case "bind-create-src":
		m.bind.CreateMountpoint, err = fd.on()
	case "volume-subpath":
		m.volume.Subpath = fd.value
	case "volume-nocopy":
		m.volume.NoCopy, err = fd.on()
	case "volume-label":
		m.volume.Labels = with(m.volume.Labels, fd.value)
	case "volume-driver":
		m.driver.Name = fd.value
	case "volume-opt":
		m.driver.Options = with(m.driver.Options, fd.value)
	case "image-subpath":
		m.image.Subpath = fd.value
	case "tmpfs-size":
		m.tmpfs.SizeBytes, err = units.RAMInBytes(fd.value)
	case "tmpfs-mode":
		var n uint64
		n, err = strconv.ParseUint(fd.value, 8, 32)
		m.tmpfs.Mode = os.FileMode(n)
	default:
		err = fmt.Errorf("unknown option '%s'", fd.key)
	}
	return err
}

// isSwitch are the fields that may stand alone.
var isSwitch = map[string]bool{"readonly": true, "ro": true, "volume-nocopy": true, "bind-nonrecursive": true, "bind-create-src": true}

func (f field) on() (bool, error) {
	if !f.hasValue {
		return true, nil
	}
	on, err := strconv.ParseBool(f.value)
	if err != nil {
		return false, fmt.Errorf("invalid value for '%s': invalid boolean value %q", f.key, f.value)
	}
	return on, nil
}

func with(m map[string]string, pair string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	key, value, _ := strings.Cut(pair, "=")
	m[key] = value
	return m
}

func recursive(b *apimount.BindOptions, value string) error {
	switch value {
	case "enabled":
	case "disabled":
		b.NonRecursive = true
	case "writable":
		b.ReadOnlyNonRecursive = true
	case "readonly":
		b.ReadOnlyForceRecursive = true
	default:
		return fmt.Errorf(`invalid value for bind-recursive: %s (must be "enabled", "disabled", "writable", or "readonly")`, value)
	}
	return nil
}

func checkMount(m apimount.Mount) error {
	switch {
	case m.Target == "":
		return errors.New("target is required")
	case m.BindOptions != nil && m.Type != apimount.TypeBind:
		return fmt.Errorf("cannot mix 'bind-*' options with mount type '%s'", m.Type)
	case m.VolumeOptions != nil && m.Type != apimount.TypeVolume:
		return fmt.Errorf("cannot mix 'volume-*' options with mount type '%s'", m.Type)
	case m.TmpfsOptions != nil && m.Type != apimount.TypeTmpfs:
		return fmt.Errorf("cannot mix 'tmpfs-*' options with mount type '%s'", m.Type)
	case m.ImageOptions != nil && m.Type != apimount.TypeImage:
		return fmt.Errorf("cannot mix 'image-*' options with mount type '%s'", m.Type)
	}
	return nil
}
