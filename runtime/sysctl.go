package runtime

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime/wire"
)

// sysctlName is what a key may look like: parts of words, never a path upwards.
var sysctlName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_-]+([./][a-zA-Z0-9_:@-]+)+$`) })

// ipcSysctls are those of an ipc namespace beside fs.mqueue.*
var ipcSysctls = []string{
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
	"kernel.shmmni", "kernel.shm_rmid_forced",
}

// CheckSysctl refuses a setting that is not of a namespace of the container's own, with runc's rules
// (libcontainer/configs/validate, sysctl).
func CheckSysctl(s *specs.Spec, key, value string) error {
	if !sysctlName().MatchString(key) || strings.ContainsAny(value, "\n\x00") {
		return fmt.Errorf("sysctl %q=%q: malformed", key, value)
	}
	name := strings.ReplaceAll(key, "/", ".")
	var kind specs.LinuxNamespaceType
	switch {
	case slices.Contains(ipcSysctls, name) || strings.HasPrefix(name, "fs.mqueue."):
		kind = specs.IPCNamespace
	case strings.HasPrefix(name, "net."):
		kind = specs.NetworkNamespace
	case name == "kernel.domainname":
		kind = specs.UTSNamespace
	case name == "kernel.hostname":
		return fmt.Errorf("sysctl %s: the host name is the container's hostname", key)
	default:
		return fmt.Errorf("sysctl %s is not in a namespace of the container's own", key)
	}
	if !slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind }) {
		return fmt.Errorf("sysctl %s is not allowed in the host's %s namespace", key, kind)
	}
	return nil
}

// sysctls translates the settings once they are checked.
func (p *plan) sysctls(spec *specs.Spec) error {
	for key, value := range spec.Linux.Sysctl {
		if err := CheckSysctl(spec, key, value); err != nil {
			return err
		}
		// As sysctl(8): with "." as the separator a "/" stands for a dot in a name.
		file := strings.NewReplacer(".", "/", "/", ".").Replace(key)
		if i := strings.IndexAny(key, "./"); key[i] == '/' {
			file = key
		}
		p.config.Sysctls = append(p.config.Sysctls, wire.Sysctl{Path: file, Value: value})
	}
	return nil
}
