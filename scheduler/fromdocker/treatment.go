package fromdocker

import (
	"fmt"
	"iter"
	"reflect"
	"strings"
	"unicode"
)

// Treatment is what becomes of a field of the body.
type Treatment string

// The treatments.
const (
	Heeded  Treatment = "heeded"  // the container is another one, or the request is refused for the value
	Shown   Treatment = "shown"   // inspect tells it again; it means nothing more, as with docker on Linux
	Told    Treatment = "told"    // the engine's to tell: clients send back what inspect has told them
	Warned  Treatment = "warned"  // discarded, with a warning
	Refused Treatment = "refused" // by its name
)

// Treatments are those of each field that is not Heeded, by its path; a test walks the types.
var Treatments = map[string]Treatment{
	"Config.AttachStdin":  Shown,
	"Config.AttachStdout": Shown,
	"Config.AttachStderr": Shown,
	"Config.ArgsEscaped":  Shown,
	"Config.OnBuild":      Shown,

	"HostConfig.ContainerIDFile":    Shown, // the client's to write
	"HostConfig.Mounts.Consistency": Shown,

	"HostConfig.Cgroup":                 Refused,
	"HostConfig.Mounts.ClusterOptions":  Refused,
	"HostConfig.DeviceRequests.Options": Warned,
	"HostConfig.CPUCount":               Warned,
	"HostConfig.CPUPercent":             Warned,
	"HostConfig.IOMaximumIOps":          Warned,
	"HostConfig.IOMaximumBandwidth":     Warned,
	"HostConfig.KernelMemory":           Warned,
	"HostConfig.KernelMemoryTCP":        Warned,

	"NetworkingConfig.EndpointsConfig.NetworkID":           Told,
	"NetworkingConfig.EndpointsConfig.EndpointID":          Told,
	"NetworkingConfig.EndpointsConfig.Gateway":             Told,
	"NetworkingConfig.EndpointsConfig.IPAddress":           Told,
	"NetworkingConfig.EndpointsConfig.IPPrefixLen":         Told,
	"NetworkingConfig.EndpointsConfig.IPv6Gateway":         Told,
	"NetworkingConfig.EndpointsConfig.GlobalIPv6Address":   Told,
	"NetworkingConfig.EndpointsConfig.GlobalIPv6PrefixLen": Told,
	"NetworkingConfig.EndpointsConfig.DNSNames":            Told,
}

// treat refuses, or warns of, what cannot be heeded.
func (w *Wanted) treat(b Body) error {
	h := b.HostConfig
	for _, f := range []struct {
		name, why string
		set       bool
	}{
		{"CpuCount", "it is for Windows: use NanoCpus", h.CPUCount != 0},
		{"CpuPercent", "it is for Windows: use NanoCpus", h.CPUPercent != 0},
		{"IOMaximumIOps", "it is for Windows: use BlkioDeviceReadIOps and BlkioDeviceWriteIOps", h.IOMaximumIOps != 0},
		{"IOMaximumBandwidth", "it is for Windows: use BlkioDeviceReadBps and BlkioDeviceWriteBps", h.IOMaximumBandwidth != 0},
		{"KernelMemory", "the kernel limits it with all other memory", h.KernelMemory != 0},
		{"KernelMemoryTCP", "the kernel limits it with all other memory", h.KernelMemoryTCP != 0},
	} {
		if f.set {
			w.warn("%s is discarded: %s", f.name, f.why)
		}
	}
	for _, d := range h.DeviceRequests {
		if len(d.Options) > 0 {
			w.warn("DeviceRequests: Options are discarded: CDI devices have none")
		}
	}
	if h.Cgroup != "" {
		return inWords("Cgroup: %q is not supported: a container has a cgroup of its own, use CgroupParent", h.Cgroup)
	}
	for _, m := range h.Mounts {
		if m.ClusterOptions != nil {
			return inWords("Mounts: ClusterOptions are not supported: there are no cluster volumes, use the type volume")
		}
	}
	if h.ConsoleSize[0] > maxConsole || h.ConsoleSize[1] > maxConsole {
		return inWords("ConsoleSize: a terminal has at most %d lines and columns", maxConsole)
	}
	return checkNames(b)
}

const (
	maxConsole  = 1<<16 - 1
	maxHostname = 64     // uname(2)
	maxValues   = 200000 // of one body
)

// checkNames refuses names that would be more than one name where they are written.
func checkNames(b Body) error {
	if len(b.Hostname) > maxHostname {
		return fmt.Errorf("invalid hostname: it has more than %d characters", maxHostname)
	}
	names := []string{b.Hostname, b.Domainname}
	if b.NetworkingConfig != nil {
		for _, e := range b.NetworkingConfig.EndpointsConfig {
			if e != nil {
				names = append(names, e.Aliases...)
			}
		}
	}
	for _, n := range names {
		if strings.ContainsFunc(n, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
			return fmt.Errorf("invalid hostname or alias: %q", n)
		}
	}
	return nil
}

// checkText refuses a body with characters that nothing in the kernel can hold, or of more values than any container needs.
func checkText(b Body) error {
	n := 0
	return walk(reflect.ValueOf(b), "", &n)
}

// walk looks at a value and all that is in it. n counts them; path is for messages.
func walk(v reflect.Value, path string, n *int) error {
	if *n++; *n > maxValues {
		return fmt.Errorf("the request has more than %d values", maxValues)
	}
	switch v.Kind() { //nolint:exhaustive // others hold no text
	case reflect.String:
		if strings.ContainsRune(v.String(), 0) {
			return fmt.Errorf("%s: %.40q has a NUL character", path, v.String())
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return walk(v.Elem(), path, n)
		}
	default:
		for name, below := range parts(v, path) {
			if err := walk(below, name, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// parts are what a list, a map or a struct is made of, with their names.
func parts(v reflect.Value, path string) iter.Seq2[string, reflect.Value] {
	return func(yield func(string, reflect.Value) bool) {
		switch v.Kind() { //nolint:exhaustive // others have no parts
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				if !yield(path, v.Index(i)) {
					return
				}
			}
		case reflect.Map:
			for each := v.MapRange(); each.Next(); {
				if !yield(path, each.Key()) || !yield(path, each.Value()) {
					return
				}
			}
		case reflect.Struct:
			for f, below := range v.Fields() {
				if f.IsExported() && !yield(f.Name, below) {
					return
				}
			}
		}
	}
}
