package runtime

import (
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tutti/runtime/wire"
)

// defaultDevices are the nodes that every container has (OCI runtime spec,
// config-linux.md, "Default Devices"), all of mode 0666.
var defaultDevices = []struct {
	path         string
	major, minor uint32
}{
	{"/dev/null", 1, 3},
	{"/dev/zero", 1, 5},
	{"/dev/full", 1, 7},
	{"/dev/random", 1, 8},
	{"/dev/urandom", 1, 9},
	{"/dev/tty", 5, 0},
}

var devLinks = []wire.Link{
	{Target: "/proc/self/fd", Path: "/dev/fd"},
	{Target: "/proc/self/fd/0", Path: "/dev/stdin"},
	{Target: "/proc/self/fd/1", Path: "/dev/stdout"},
	{Target: "/proc/self/fd/2", Path: "/dev/stderr"},
	{Target: "/proc/kcore", Path: "/dev/core"},
	{Target: "pts/ptmx", Path: "/dev/ptmx"},
}

func (p *plan) devices(spec *specs.Spec) error {
	if !p.config.MakeDev {
		if len(spec.Linux.Devices) > 0 {
			return fmt.Errorf("spec: devices cannot be made in a /dev that is a bind mount")
		}
		return nil
	}
	p.config.Links = append(p.config.Links, devLinks...)
	named := map[string]bool{}
	for _, d := range spec.Linux.Devices {
		w, err := wireDevice(d)
		if err != nil {
			return err
		}
		named[d.Path] = true
		p.config.Devices = append(p.config.Devices, w)
	}
	for _, d := range defaultDevices {
		if !named[d.path] {
			p.config.Devices = append(p.config.Devices, wire.Device{
				Path: d.path, Mode: unix.S_IFCHR | 0o666, Dev: unix.Mkdev(d.major, d.minor),
			})
		}
	}
	return nil
}

func wireDevice(d specs.LinuxDevice) (wire.Device, error) {
	w := wire.Device{Path: d.Path, Mode: 0o666, Dev: unix.Mkdev(uint32(d.Major), uint32(d.Minor))}
	if d.FileMode != nil {
		w.Mode = uint32(d.FileMode.Perm())
	}
	switch d.Type {
	case "c", "u":
		w.Mode |= unix.S_IFCHR
	case "b":
		w.Mode |= unix.S_IFBLK
	case "p":
		w.Mode |= unix.S_IFIFO
	default:
		return w, fmt.Errorf("device %s: unknown type %q", d.Path, d.Type)
	}
	if d.UID != nil {
		w.UID = *d.UID
	}
	if d.GID != nil {
		w.GID = *d.GID
	}
	return w, nil
}

// allowedDevices are always let through by the devices controller, whatever the
// spec's rules say before: nodes may be made of anything (opening them is what
// is controlled), and the default devices, terminals among them, work.
func allowedDevices() []specs.LinuxDeviceCgroup {
	rule := func(kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		r := specs.LinuxDeviceCgroup{Allow: true, Type: kind, Access: access, Major: &major, Minor: &minor}
		return r
	}
	const any = -1
	rules := []specs.LinuxDeviceCgroup{
		rule("c", any, any, "m"),
		rule("b", any, any, "m"),
		rule("c", 5, 1, "rwm"), // /dev/console
		rule("c", 5, 2, "rwm"), // /dev/ptmx
		rule("c", 136, any, "rwm"),
	}
	for _, d := range defaultDevices {
		rules = append(rules, rule("c", int64(d.major), int64(d.minor), "rwm"))
	}
	return rules
}

// withAllowedDevices returns res with the rules above after its own.
func withAllowedDevices(res *specs.LinuxResources) *specs.LinuxResources {
	var all specs.LinuxResources
	if res != nil {
		all = *res
	}
	if len(all.Devices) > 0 { // no rules: everything is allowed already
		all.Devices = append(slices.Clip(all.Devices), allowedDevices()...)
	}
	return &all
}
