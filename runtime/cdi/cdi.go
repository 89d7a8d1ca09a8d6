// Package cdi puts devices that are described by specifications on the host into a runtime spec (CNCF Container Device
// Interface, tags.cncf.io/container-device-interface): GPUs above all. Who makes the devices work writes the
// specifications; nvidia-ctk cdi generate, for one.
package cdi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/pkg/parser"
)

// Driver is the driver of a [Request] whose IDs are whole names of devices.
const Driver = "cdi"

// folders are where specifications lie, those in the last one win (CDI specification, "CDI JSON Specification").
var folders = []string{"/etc/cdi", "/var/run/cdi"}

// Request asks for devices as docker's device requests do (docker run --gpus).
type Request struct {
	Attribute    string   `json:"attribute"`        // of the service, for messages
	Driver       string   `json:"driver,omitempty"` // "", cdi, nvidia, amd, or a vendor's domain
	Count        int      `json:"count,omitempty"`  // -1: all of the host's
	IDs          []string `json:"ids,omitempty"`    // names of one kind, or whole names "vendor.com/class=name"
	Capabilities []string `json:"capabilities,omitempty"`
}

// ErrDevice is returned for a request that no specification on the host fulfils.
var ErrDevice = errors.New("no such CDI device")

// Fault is the error about one request.
type Fault struct {
	Request Request
	Err     error
}

func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap returns the error itself.
func (f *Fault) Unwrap() error { return f.Err }

// IsName tells whether text is the whole name of a device, "vendor.com/class=name".
func IsName(text string) bool { return parser.IsQualifiedName(text) }

// Inject adds devices, variables, mounts, groups and hooks of what is requested to a spec. Errors are of type *Fault.
func Inject(s *specs.Spec, requests []Request) error {
	if len(requests) == 0 {
		return nil
	}
	cache, err := cdi.NewCache(cdi.WithSpecDirs(folders...), cdi.WithAutoRefresh(false))
	if err != nil {
		return fmt.Errorf("read the CDI specifications: %w", err)
	}
	h := host{cache: cache, devices: cache.ListDevices()}
	var names []string
	for _, r := range requests {
		found, err := h.resolve(r)
		if err != nil {
			return &Fault{r, err}
		}
		for _, name := range found {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	if _, err := cache.InjectDevices(s, names...); err != nil {
		return &Fault{requests[0], fmt.Errorf("CDI device injection failed: %w", errors.Join(err, h.broken()))}
	}
	if err := checkHooks(s.Hooks); err != nil {
		return &Fault{requests[0], err}
	}
	return nil
}

// host is what the specifications of the host describe.
type host struct {
	cache   *cdi.Cache
	devices []string // whole names, sorted
}

// broken are the faults of specifications that cannot be read.
func (h *host) broken() error {
	var all []error
	for path, list := range h.cache.GetErrors() {
		for _, err := range list {
			if !errors.Is(err, fs.ErrNotExist) {
				all = append(all, fmt.Errorf("%s: %w", path, err))
			}
		}
	}
	return errors.Join(all...)
}

// resolve turns a request into whole names. As with docker, the IDs of a request may be whole names, too.
func (h *host) resolve(r Request) ([]string, error) {
	if r.Driver == Driver {
		if r.Count != 0 {
			return nil, errors.New("unexpected count in CDI device request: name the devices by device_ids")
		}
		return r.IDs, h.known(r.IDs)
	}
	if len(r.IDs) > 0 && !slices.ContainsFunc(r.IDs, func(id string) bool { return !IsName(id) }) {
		return r.IDs, h.known(r.IDs)
	}
	kind, err := h.kind(r)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, id := range r.IDs {
		if !IsName(id) {
			id = kind + "=" + id
		}
		names = append(names, id)
	}
	if len(r.IDs) == 0 {
		return h.some(kind, r.Count)
	}
	return names, h.known(names)
}

func (h *host) known(names []string) error {
	for _, name := range names {
		if h.cache.GetDevice(name) == nil {
			return errors.Join(fmt.Errorf("%w: %s: %s", ErrDevice, name, h.offer()), h.broken())
		}
	}
	return nil
}

// offer says what there is instead.
func (h *host) offer() string {
	if len(h.devices) == 0 {
		return "there is no CDI specification in " + strings.Join(folders, " or ") +
			": have the device's vendor write one (nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml)"
	}
	return "the specifications of this host have " + strings.Join(h.devices, ", ")
}

// vendors are the kinds of docker's drivers of these names (moby, daemon/devices_nvidia_linux.go, devices_amd_linux.go).
var vendors = map[string]string{"nvidia": "nvidia.com/gpu", "nvidia.cdi": "nvidia.com/gpu", "amd": "amd.com/gpu"}

// kind chooses "vendor.com/class" for a request: by its driver, or else the vendor of whom the host has devices of that
// class, docker's own vendors first.
func (h *host) kind(r Request) (string, error) {
	if kind := vendors[r.Driver]; kind != "" {
		return kind, h.offers(r, kind)
	}
	if r.Driver != "" {
		kind := r.Driver + "/gpu"
		return kind, h.offers(r, kind)
	}
	if !slices.Contains(r.Capabilities, "gpu") {
		return "", fmt.Errorf("could not select device driver %q with capabilities: %v: name the driver (cdi) and the devices", r.Driver, r.Capabilities)
	}
	for _, kind := range []string{vendors["nvidia"], vendors["amd"]} {
		if len(h.ofKind(kind)) > 0 {
			return kind, nil
		}
	}
	for _, name := range h.devices {
		if kind, _, _ := strings.Cut(name, "="); strings.HasSuffix(kind, "/gpu") {
			return kind, nil
		}
	}
	return "", h.offers(r, "gpu")
}

// offers is an error when the host has no device of a kind.
func (h *host) offers(r Request, kind string) error {
	if len(h.ofKind(kind)) > 0 {
		return nil
	}
	return errors.Join(fmt.Errorf("could not select device driver %q with capabilities: %v: %w of kind %s: %s",
		r.Driver, r.Capabilities, ErrDevice, kind, h.offer()), h.broken())
}

// ofKind are the names of all devices of a kind, without the one that stands for all of them.
func (h *host) ofKind(kind string) []string {
	var names []string
	for _, name := range h.devices {
		if k, device, _ := strings.Cut(name, "="); k == kind && device != "all" {
			names = append(names, name)
		}
	}
	return names
}

// some are the first devices of a kind: those that are numbered 0, 1, ... where they are, as docker numbers them.
func (h *host) some(kind string, count int) ([]string, error) {
	all := h.ofKind(kind)
	switch {
	case count < 0 && h.cache.GetDevice(kind+"=all") != nil:
		return []string{kind + "=all"}, nil
	case count < 0:
		return all, nil
	case count > len(all):
		return nil, fmt.Errorf("%w: %d of kind %s were asked for, and the host has %d", ErrDevice, count, kind, len(all))
	}
	var names []string
	for i := range count {
		name := kind + "=" + strconv.Itoa(i)
		if h.cache.GetDevice(name) == nil {
			return all[:count], nil
		}
		names = append(names, name)
	}
	return names, nil
}

// checkHooks makes sure that hooks are programs of the host. One that would be looked up in the container could be
// anything that an image brings along.
func checkHooks(hooks *specs.Hooks) error {
	if hooks == nil {
		return nil
	}
	if len(hooks.StartContainer) > 0 {
		return fmt.Errorf("the CDI hook %s would be run inside the container: only programs of the host are run", hooks.StartContainer[0].Path)
	}
	for _, list := range [][]specs.Hook{hooks.Prestart, hooks.CreateRuntime, hooks.CreateContainer, hooks.Poststart, hooks.Poststop} { //nolint:staticcheck // specifications still have prestart
		for _, hook := range list {
			st, err := os.Stat(hook.Path)
			if err != nil {
				return fmt.Errorf("the CDI hook %s: %w", hook.Path, err)
			}
			if !filepath.IsAbs(hook.Path) || !st.Mode().IsRegular() || st.Mode()&0o111 == 0 {
				return fmt.Errorf("the CDI hook %s is no program", hook.Path)
			}
		}
	}
	return nil
}
