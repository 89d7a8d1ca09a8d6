package createflags

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	apicontainer "github.com/moby/moby/api/types/container"
)

func (f *Flags) confinement(u User, r *apicontainer.CreateRequest) (err error) {
	h := r.HostConfig
	h.CapAdd, h.CapDrop, h.Privileged, h.ReadonlyRootfs = f.capAdd, f.capDrop, f.privileged, f.readOnly
	h.PidMode, h.IpcMode, h.UTSMode = apicontainer.PidMode(f.pid), apicontainer.IpcMode(f.ipc), apicontainer.UTSMode(f.uts)
	h.UsernsMode, h.CgroupnsMode, h.Isolation = apicontainer.UsernsMode(f.userns), apicontainer.CgroupnsMode(f.cgroupns), apicontainer.Isolation(f.isolation)
	h.Runtime, h.CgroupParent, h.DeviceCgroupRules = f.runtime, f.cgroupParent, f.deviceRules
	for _, mode := range []struct {
		flag, kind string
		valid      bool
	}{
		{"pid", "PID", h.PidMode.Valid()},
		{"ipc", "IPC", h.IpcMode.Valid()},
		{"uts", "UTS", h.UTSMode.Valid()},
		{"userns", "USER", h.UsernsMode.Valid()},
		{"cgroupns", "CGROUP", h.CgroupnsMode.Valid()},
	} {
		if !mode.valid {
			return fmt.Errorf("--%s: invalid %s mode", mode.flag, mode.kind)
		}
	}
	if h.Sysctls, err = strictPairs("sysctl", f.sysctls); err != nil {
		return err
	}
	if h.StorageOpt, err = strictPairs("storage-opt", f.storage); err != nil {
		return err
	}
	for _, text := range f.ulimits {
		l, err := units.ParseUlimit(text)
		if err != nil {
			return fmt.Errorf("invalid argument %q for \"--ulimit\" flag: %w", text, err)
		}
		h.Ulimits = slices.DeleteFunc(h.Ulimits, func(have *units.Ulimit) bool { return have.Name == l.Name })
		h.Ulimits = append(h.Ulimits, l)
	}
	slices.SortFunc(h.Ulimits, func(a, b *units.Ulimit) int { return strings.Compare(a.Name, b.Name) })
	if err := f.deviceFlags(h); err != nil {
		return err
	}
	return f.securityOptions(u, h)
}

// securityOptions reads --security-opt. A seccomp profile is sent with its content.
func (f *Flags) securityOptions(u User, h *apicontainer.HostConfig) error {
	for _, o := range f.security {
		key, value, ok := strings.Cut(o, "=")
		if !ok {
			key, value, ok = strings.Cut(o, ":")
		}
		switch {
		case o == "systempaths=unconfined":
			h.MaskedPaths, h.ReadonlyPaths = []string{}, []string{}
			continue
		case key == "no-new-privileges", key == "writable-cgroups":
		case !ok || value == "":
			return fmt.Errorf("invalid --security-opt: %q", o)
		case key == "seccomp" && value != "unconfined" && value != "builtin":
			text, err := u.read(value)
			if err != nil {
				return fmt.Errorf("opening seccomp profile (%s) failed: %w", value, err)
			}
			var compact bytes.Buffer
			if err := json.Compact(&compact, []byte(text)); err != nil {
				return fmt.Errorf("compacting json for seccomp profile (%s) failed: %w", value, err)
			}
			o = "seccomp=" + compact.String()
		}
		h.SecurityOpt = append(h.SecurityOpt, o)
	}
	return nil
}

// deviceFlags reads --device and --gpus.
func (f *Flags) deviceFlags(h *apicontainer.HostConfig) error {
	var named []string
	for _, text := range f.devices {
		if isCDI(text) {
			named = append(named, text)
			continue
		}
		d, err := device(text)
		if err != nil {
			return err
		}
		h.Devices = append(h.Devices, d)
	}
	for _, text := range f.gpus {
		r, err := gpus(text)
		if err != nil {
			return fmt.Errorf("invalid argument %q for \"--gpus\" flag: %w", text, err)
		}
		h.DeviceRequests = append(h.DeviceRequests, r)
	}
	if len(named) > 0 {
		h.DeviceRequests = append(h.DeviceRequests, apicontainer.DeviceRequest{Driver: "cdi", DeviceIDs: named})
	}
	return nil
}

// isCDI tells whether a text is the name of a device, vendor.com/class=name, and not a path.
func isCDI(text string) bool {
	kind, name, ok := strings.Cut(text, "=")
	return ok && name != "" && !strings.HasPrefix(text, "/") && strings.Count(kind, "/") == 1
}

// device reads SOURCE[:TARGET][:PERMISSIONS].
func device(text string) (apicontainer.DeviceMapping, error) {
	d := apicontainer.DeviceMapping{CgroupPermissions: "rwm"}
	parts := strings.Split(text, ":")
	isMode := func(s string) bool { return s != "" && strings.Trim(s, "rwm") == "" && len(s) <= 3 }
	switch {
	case len(parts) > 3 || parts[0] == "":
		return d, fmt.Errorf("bad format for path: %s", text)
	case len(parts) == 3 && !isMode(parts[2]):
		return d, fmt.Errorf("bad mode specified: %s", parts[2])
	case len(parts) == 3:
		d.CgroupPermissions, parts = parts[2], parts[:2]
	case len(parts) == 2 && isMode(parts[1]):
		d.CgroupPermissions, parts = parts[1], parts[:1]
	}
	d.PathOnHost, d.PathInContainer = parts[0], parts[len(parts)-1]
	if !path.IsAbs(d.PathInContainer) {
		return d, fmt.Errorf("%s is not an absolute path", d.PathInContainer)
	}
	return d, nil
}

// gpus reads --gpus: all, a number, or fields.
func gpus(text string) (r apicontainer.DeviceRequest, err error) {
	r.Capabilities, r.Options = [][]string{{"gpu"}}, map[string]string{}
	list, err := fieldsOf("gpus", text)
	if err != nil {
		return r, err
	}
	counted := false
	count := func(text string) error {
		counted = true
		if text == "all" {
			r.Count = -1
			return nil
		}
		if r.Count, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("invalid count (%s): value must be either \"all\" or an integer", text)
		}
		return nil
	}
	for _, fd := range list {
		switch {
		case !fd.hasValue:
			err = count(fd.key)
		case fd.key == "count":
			err = count(fd.value)
		case fd.key == "driver":
			r.Driver = fd.value
		case fd.key == "device":
			r.DeviceIDs = strings.Split(fd.value, ",")
		case fd.key == "capabilities":
			r.Capabilities = [][]string{append(strings.Split(fd.value, ","), "gpu")}
		case fd.key == "options":
			r.Options = pairs(strings.Split(fd.value, ","))
		default:
			err = fmt.Errorf("unexpected key '%s'", fd.key)
		}
		if err != nil {
			return r, err
		}
	}
	if counted && len(r.DeviceIDs) > 0 {
		return r, errors.New("cannot set both Count and DeviceIDs on device request")
	}
	if !counted && r.DeviceIDs == nil {
		r.Count = 1
	}
	return r, nil
}
