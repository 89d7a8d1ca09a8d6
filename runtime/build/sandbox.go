package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/continuity/fs"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/resolvconf"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	defaultHostname = "buildkitsandbox" // BuildKit's, part of its cache semantics
	hostResolvConf  = "/etc/resolv.conf"
	// systemd-resolved's list of real servers; its stub address means nothing in
	// another network namespace.
	systemdResolvConf = "/run/systemd/resolve/resolv.conf"
)

// sandbox is what a step's container is made of.
type sandbox struct {
	id     string
	dir    string
	spec   *specs.Spec
	rootfs []specs.Mount
	host   netip.Addr // of the host, as the step reaches it; zero when it does not

	undo []func() error // in reverse order
}

// prepare makes files, mounts and network of a step and describes its container.
func (s *steps) prepare(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount, meta executor.Meta) (_ *sandbox, err error) {
	if err := supported(meta); err != nil {
		return nil, err
	}
	sb := &sandbox{id: idPrefix + id, dir: s.folder(id)}
	defer func() {
		if err != nil {
			err = errors.Join(err, sb.close())
		}
	}()
	if err := os.MkdirAll(filepath.Join(sb.dir, "rootfs"), 0o711); err != nil {
		return nil, fmt.Errorf("create folder of build step: %w", err)
	}
	sb.onClose(func() error { return os.RemoveAll(sb.dir) })
	if err := sb.addRoot(ctx, root, mounts, meta); err != nil {
		return nil, err
	}
	if sb.spec, err = stepSpec(meta, filepath.Join(sb.dir, "rootfs"), root.Readonly); err != nil {
		return nil, err
	}
	if err := sb.addNetwork(ctx, s.network, meta.NetMode); err != nil {
		return nil, err
	}
	if err := sb.addFiles(meta); err != nil {
		return nil, err
	}
	for _, m := range mounts {
		if err := sb.addMount(ctx, m); err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.Dest, err)
		}
	}
	sb.spec.Mounts = lastOfEach(sb.spec.Mounts)
	return sb, nil
}

// supported refuses what would need more rights than a container has.
func supported(meta executor.Meta) error {
	switch {
	case len(meta.CDIDevices) > 0:
		return errDevice
	case meta.Proxy != nil:
		return errors.New("the proxy network of a build is not supported")
	}
	return nil
}

func (sb *sandbox) onClose(f func() error) { sb.undo = append(sb.undo, f) }

// close undoes prepare. The container must be gone.
func (sb *sandbox) close() error {
	var err error
	for _, f := range slices.Backward(sb.undo) {
		err = errors.Join(err, f())
	}
	sb.undo = nil
	return err
}

// addRoot takes over the root's mounts, which the container makes itself, and
// arranges that mount points made by the runtime do not end up in the layer.
func (sb *sandbox) addRoot(ctx context.Context, root executor.Mount, mounts []executor.Mount, meta executor.Meta) error {
	list, err := sb.mountsOf(ctx, root, false)
	if err != nil {
		return fmt.Errorf("mount root of build step: %w", err)
	}
	if len(list) != 1 {
		return fmt.Errorf("root of build step has %d mounts, not one", len(list))
	}
	sb.rootfs = []specs.Mount{specMount("", list[0])}
	names := []string{"/etc/resolv.conf", "/etc/hosts"}
	for _, m := range mounts {
		names = append(names, m.Dest)
	}
	sb.onClose(findStubs(list[0], names, meta.RemoveMountStubsRecursive).remove)
	return nil
}

// mountsOf asks BuildKit for a mount and returns it with close.
func (sb *sandbox) mountsOf(ctx context.Context, m executor.Mount, readonly bool) ([]mount.Mount, error) {
	if m.Src == nil {
		return nil, errors.New("it has no source")
	}
	ref, err := m.Src.Mount(ctx, readonly)
	if err != nil {
		return nil, err
	}
	list, release, err := ref.Mount()
	if err != nil {
		return nil, err
	}
	if release != nil {
		sb.onClose(release)
	}
	return list, nil
}

func (sb *sandbox) addMount(ctx context.Context, m executor.Mount) error {
	list, err := sb.mountsOf(ctx, m, m.Readonly)
	if err != nil {
		return err
	}
	destination := path.Join("/", m.Dest)
	if path.Join("/", m.Selector) != "/" {
		part, err := sb.selectPart(list, m)
		if err != nil {
			return err
		}
		list = []mount.Mount{part}
	}
	for _, part := range list {
		sb.spec.Mounts = append(sb.spec.Mounts, specMount(destination, part))
	}
	return nil
}

// selectPart finds a file or folder inside a mount. That needs the mount to be
// made here; it is unmounted with close.
func (sb *sandbox) selectPart(list []mount.Mount, m executor.Mount) (mount.Mount, error) {
	whole := ""
	if len(list) == 1 && (list[0].Type == "bind" || list[0].Type == "rbind") {
		whole = list[0].Source
	} else {
		dir, err := os.MkdirTemp(sb.dir, "mount")
		if err != nil {
			return mount.Mount{}, err
		}
		if err := mount.All(list, dir); err != nil {
			return mount.Mount{}, err
		}
		sb.onClose(func() error { return mount.UnmountAll(dir, unix.MNT_DETACH) })
		whole = dir
	}
	part, err := fs.RootPath(whole, m.Selector)
	if err != nil {
		return mount.Mount{}, err
	}
	if _, err := os.Stat(part); err != nil {
		return mount.Mount{}, &os.PathError{Op: "find", Path: m.Selector, Err: errors.Unwrap(err)}
	}
	options := []string{"rbind"}
	if m.Readonly {
		options = append(options, "ro")
	}
	return mount.Mount{Type: "bind", Source: part, Options: options}, nil
}

func specMount(destination string, m mount.Mount) specs.Mount {
	kind, options := m.Type, slices.Clone(m.Options)
	if kind == "rbind" {
		kind = "bind"
		if !slices.Contains(options, "rbind") {
			options = append(options, "rbind")
		}
	}
	return specs.Mount{Destination: destination, Type: kind, Source: m.Source, Options: options}
}

// lastOfEach keeps the last mount of each destination, at its place: a build's
// /dev/shm replaces the default one.
func lastOfEach(mounts []specs.Mount) []specs.Mount {
	var kept []specs.Mount
	for i, m := range mounts {
		later := slices.ContainsFunc(mounts[i+1:], func(o specs.Mount) bool { return path.Clean(o.Destination) == path.Clean(m.Destination) })
		if !later {
			kept = append(kept, m)
		}
	}
	return kept
}

// addNetwork chooses the namespace: a fresh and empty one, the host's, or one that
// the engine wires.
func (sb *sandbox) addNetwork(ctx context.Context, network func(context.Context) (StepNetwork, error), mode pb.NetMode) error {
	linux := sb.spec.Linux
	linux.Namespaces = slices.DeleteFunc(linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
	switch {
	case mode == pb.NetMode_NONE:
		linux.Namespaces = append(linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	case mode == pb.NetMode_HOST || network == nil:
		sb.host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		maps.DeleteFunc(linux.Sysctl, func(key, _ string) bool { return strings.HasPrefix(key, "net.") }) // the host's own
	default:
		n, err := network(ctx)
		if err != nil {
			return fmt.Errorf("network of build step: %w", err)
		}
		if n.Release != nil {
			sb.onClose(func() error { n.Release(); return nil })
		}
		sb.host = n.Host
		linux.Namespaces = append(linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: n.Path})
	}
	return nil
}

// addFiles writes resolv.conf and hosts and mounts them.
func (sb *sandbox) addFiles(meta executor.Meta) error {
	hostNetwork := !slices.ContainsFunc(sb.spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
	resolv, err := resolvConf(hostNetwork)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"resolv.conf": resolv, "hosts": hostsFile(sb.spec.Hostname, meta.ExtraHosts, sb.host)} {
		file := filepath.Join(sb.dir, name)
		if err := os.WriteFile(file, data, 0o644); err != nil { //nolint:gosec // for every user of the container
			return fmt.Errorf("write %s of build step: %w", name, err)
		}
		sb.spec.Mounts = append(sb.spec.Mounts, specs.Mount{
			Destination: "/etc/" + name, Type: "bind", Source: file, Options: []string{"rbind", "ro"},
		})
	}
	return nil
}

// resolvConf is the host's, without servers on loopback addresses when the step has
// a network namespace of its own.
func resolvConf(hostNetwork bool) ([]byte, error) {
	conf, err := resolvconf.Load(hostResolvConf)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", hostResolvConf, err)
	}
	if !hostNetwork {
		servers := conf.NameServers()
		if len(servers) == 1 && servers[0].IsLoopback() {
			if real, err := resolvconf.Load(systemdResolvConf); err == nil {
				conf = real
			}
		}
		conf.TransformForLegacyNw(true)
	}
	data, err := conf.Generate(false)
	if err != nil {
		return nil, fmt.Errorf("write resolv.conf: %w", err)
	}
	return data, nil
}

// hostGateway is what users write for the address of the host. BuildKit wants an address and makes it part of the step's key
// in the cache, but which one it is depends on the network: hostGatewayMark stands for it until the step runs. It is from
// the block that leads nowhere (RFC 6666).
const hostGateway = "host-gateway"

var hostGatewayMark = net.ParseIP("100::686f:7374:2d67:7765")

// hostsFile is a step's /etc/hosts. A host that the step cannot reach has no line.
func hostsFile(hostname string, extra []executor.HostIP, host netip.Addr) []byte {
	var text bytes.Buffer
	fmt.Fprintf(&text, "127.0.0.1\tlocalhost %s\n::1\tlocalhost ip6-localhost ip6-loopback\n", hostname)
	for _, h := range extra {
		switch {
		case !h.IP.Equal(hostGatewayMark):
			fmt.Fprintf(&text, "%s\t%s\n", h.IP, h.Host)
		case host.IsValid():
			fmt.Fprintf(&text, "%s\t%s\n", host, h.Host)
		}
	}
	return text.Bytes()
}
