package volumes

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Options of docker's local driver: the arguments of a mount(8).
const (
	optType   = "type"
	optDevice = "device"
	optO      = "o"
)

func checkSpec(spec Spec) error {
	if err := checkName(spec.Name); err != nil {
		return err
	}
	if spec.Driver != DriverLocal {
		return fmt.Errorf("%w %q: driver %q is not there: only %q is, which mounts NFS and others with the driver_opts type, o and device",
			ErrInvalid, spec.Name, spec.Driver, DriverLocal)
	}
	o := spec.DriverOpts
	for key := range o {
		switch key {
		case optType, optDevice, optO:
		case "size":
			return fmt.Errorf("%w %q: driver_opts size (a quota) is not supported: use type: tmpfs with o: size=..., or a device of that size",
				ErrInvalid, spec.Name)
		default:
			return fmt.Errorf("%w %q: unknown driver_opts key %q: known are type, o and device", ErrInvalid, spec.Name, key)
		}
	}
	if len(o) > 0 && (o[optType] == "" || o[optDevice] == "") {
		return fmt.Errorf("%w %q: driver_opts needs both type and device", ErrInvalid, spec.Name)
	}
	if device, ok := (Volume{Spec: spec}).hostFolder(); ok && !filepath.IsAbs(device) {
		return fmt.Errorf("%w %q: driver_opts device %q must be an absolute path to bind it", ErrInvalid, spec.Name, device)
	}
	return nil
}

// isPlain says whether the data lies in the volume's own directory.
func (v Volume) isPlain() bool { return v.DriverOpts[optDevice] == "" }

func (v Volume) mountOptions() []string {
	if v.DriverOpts[optO] == "" {
		return nil
	}
	return strings.Split(v.DriverOpts[optO], ",")
}

// hostFolder returns the folder of the host that the volume stands for (o=bind).
func (v Volume) hostFolder() (string, bool) {
	for _, o := range v.mountOptions() {
		if o == "bind" || o == "rbind" {
			return v.DriverOpts[optDevice], true
		}
	}
	return "", false
}

// dataPath returns the directory of the host that holds the data, if there is one.
func (v Volume) dataPath() (string, bool) {
	if v.isPlain() {
		return v.Path, true
	}
	return v.hostFolder()
}

// deviceMount is the mount of a volume with a device, to be made by the container's
// init. Each container makes its own: NFS and block devices share their content
// through the kernel's superblock, a tmpfs is separate for each (docker shares it).
func (v Volume) deviceMount(ctx context.Context, target string, readOnly bool) (specs.Mount, error) {
	m := specs.Mount{Destination: target, Type: v.DriverOpts[optType], Source: v.DriverOpts[optDevice], Options: v.mountOptions()}
	if m.Type == "nfs" || m.Type == "nfs4" || m.Type == "cifs" {
		// The kernel takes addresses only, and the container may not know the name.
		for i, o := range m.Options {
			name, ok := strings.CutPrefix(o, "addr=")
			if !ok {
				continue
			}
			addr, err := resolve(ctx, name)
			if err != nil {
				return specs.Mount{}, fmt.Errorf("volume %q: resolve addr=%s of its driver_opts: %w", v.Name, name, err)
			}
			m.Options[i] = "addr=" + addr
		}
	}
	if readOnly && !slices.Contains(m.Options, "ro") {
		m.Options = append(slices.DeleteFunc(m.Options, func(o string) bool { return o == "rw" }), "ro")
	}
	return m, nil
}

func resolve(ctx context.Context, name string) (string, error) {
	if _, err := netip.ParseAddr(name); err == nil {
		return name, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
	if err != nil {
		return "", err
	}
	return found[0].Unmap().String(), nil
}
