package container

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime"
	"tutti/runtime/cdi"
)

// devices reads the service's devices: those of the host by their paths, and requests for CDI devices, which are found when
// the container starts: names among `devices`, `gpus`, and `deploy.resources.reservations.devices`.
func devices(s types.ServiceConfig) ([]Device, []cdi.Request, error) {
	var all []Device
	var requests []cdi.Request
	for i, d := range s.Devices {
		if cdi.IsName(d.Source) && (d.Target == "" || d.Target == d.Source) {
			requests = append(requests, cdi.Request{Attribute: "devices", Driver: cdi.Driver, IDs: []string{d.Source}})
			continue
		}
		if !path.IsAbs(d.Source) || d.Target != "" && !path.IsAbs(d.Target) {
			return nil, nil, At(fmt.Errorf("%q is neither an absolute path nor the name of a CDI device", firstOf(d.Source, d.Target)), "devices", strconv.Itoa(i))
		}
		all = append(all, Device{Source: d.Source, Target: firstOf(d.Target, d.Source), Permissions: firstOf(d.Permissions, "rwm")})
	}
	for i, g := range s.Gpus {
		r, err := request("gpus", g, "gpu")
		if err != nil {
			return nil, nil, At(err, "gpus", strconv.Itoa(i))
		}
		requests = append(requests, r)
	}
	if s.Deploy == nil || s.Deploy.Resources.Reservations == nil {
		return all, requests, nil
	}
	for i, d := range s.Deploy.Resources.Reservations.Devices {
		r, err := request("deploy", d)
		if err != nil {
			return nil, nil, At(err, "deploy", "resources", "reservations", "devices", strconv.Itoa(i))
		}
		requests = append(requests, r)
	}
	return all, requests, nil
}

func request(attribute string, d types.DeviceRequest, capabilities ...string) (cdi.Request, error) {
	r := cdi.Request{Attribute: attribute, Driver: d.Driver, Count: int(d.Count), IDs: d.IDs, Capabilities: append(capabilities, d.Capabilities...)}
	switch {
	case d.Count != 0 && len(d.IDs) > 0:
		return r, errors.New("cannot set both count and device_ids: remove one of them")
	case d.Driver == cdi.Driver && len(d.Options) > 0:
		return r, errors.New("a request of the driver cdi has no options")
	}
	return r, nil
}

// addDevices gives the container its devices. A privileged one has all of the host's already, but not under other names.
func (c *Config) addDevices(s *specs.Spec) error {
	for i, d := range c.Devices {
		if c.Security.Privileged && d.Source == d.Target {
			continue
		}
		if err := runtime.AddDevice(s, d.Source, d.Target, d.Permissions); err != nil {
			return At(err, "devices", strconv.Itoa(i))
		}
	}
	for i, text := range c.Security.DeviceRules {
		r, err := deviceRule(text)
		if err != nil {
			return At(err, "device_cgroup_rules", strconv.Itoa(i))
		}
		if !c.Security.Privileged {
			s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, r)
		}
	}
	return nil
}

// inject adds what the CDI devices bring along: devices, variables, mounts, hooks.
func (c *Config) inject(s *specs.Spec) error {
	err := cdi.Inject(s, c.DeviceRequests)
	if f, ok := errors.AsType[*cdi.Fault](err); ok {
		return At(err, f.Request.Attribute)
	}
	return err
}

// deviceRuleForm is docker's (moby, pkg/oci, AppendDevicePermissionsFromCgroupRules).
var deviceRuleForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$`) })

// deviceRule reads a rule as in "c 13:* rmw" (devices.allow of cgroup v1).
func deviceRule(text string) (specs.LinuxDeviceCgroup, error) {
	m := deviceRuleForm().FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return specs.LinuxDeviceCgroup{}, fmt.Errorf("%q is not of the form \"c 13:* rwm\"", text)
	}
	r := specs.LinuxDeviceCgroup{Allow: true, Type: m[1], Access: m[4]}
	for i, to := range []**int64{&r.Major, &r.Minor} {
		n := int64(-1)
		if m[2+i] != "*" {
			v, err := strconv.ParseUint(m[2+i], 10, 32)
			if err != nil {
				return r, fmt.Errorf("%q: %w", text, err)
			}
			n = int64(v) //nolint:gosec // 32 bits
		}
		*to = &n
	}
	return r, nil
}
