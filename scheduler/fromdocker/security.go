package fromdocker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"

	"tutti/runtime"
	"tutti/scheduler/container"
)

// security is what widens or narrows the confinement.
func (w *Wanted) security() error {
	s, h := &w.Service, w.host
	s.Privileged, s.ReadOnly, s.CapAdd, s.CapDrop, s.Sysctls = h.Privileged, h.ReadonlyRootfs, h.CapAdd, h.CapDrop, h.Sysctls
	for _, o := range h.SecurityOpt {
		if _, profile := seccompProfile(o); profile {
			continue // comes with its content, see finishSecurity
		}
		if strings.HasPrefix(o, "label") || o == "disable" {
			w.warn("SecurityOpt: %s has no effect: containers have no SELinux labels", o)
		}
		s.SecurityOpt = append(s.SecurityOpt, o)
	}
	for _, list := range []struct {
		name  string
		paths []string
	}{{"MaskedPaths", h.MaskedPaths}, {"ReadonlyPaths", h.ReadonlyPaths}} {
		if i := slices.IndexFunc(list.paths, func(p string) bool { return !strings.HasPrefix(p, "/") }); i >= 0 {
			return fmt.Errorf("%s: %q is no absolute path", list.name, list.paths[i])
		}
	}
	s.StorageOpt = h.StorageOpt
	return nil
}

// seccompProfile is the content of a security option that is a seccomp profile. In compose files it is the path of one.
func seccompProfile(option string) (content string, ok bool) {
	for _, prefix := range []string{"seccomp=", "seccomp:"} {
		if content, ok := strings.CutPrefix(option, prefix); ok && content != "builtin" && content != runtime.Unconfined {
			return content, true
		}
	}
	return "", false
}

func (w *Wanted) finishSecurity(s *container.Security) error {
	for _, o := range w.host.SecurityOpt {
		content, ok := seccompProfile(o)
		if !ok {
			continue
		}
		if !json.Valid([]byte(content)) {
			return inWords("Decoding seccomp profile failed: it is no JSON: a client sends the profile itself, not its path")
		}
		s.Seccomp = content
	}
	s.MaskedPaths, s.ReadonlyPaths = w.host.MaskedPaths, w.host.ReadonlyPaths
	return nil
}

// namespaces are those that are shared with the host or with another container.
func (w *Wanted) namespaces(h Host) error {
	s, c := &w.Service, w.host
	for _, m := range []struct {
		name, mode string
		to         *string
	}{{"PidMode", string(c.PidMode), &s.Pid}, {"IpcMode", string(c.IpcMode), &s.Ipc}} {
		mode, err := peer(m.mode, h)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		*m.to = mode
	}
	c.PidMode, c.IpcMode = apicontainer.PidMode(s.Pid), apicontainer.IpcMode(s.Ipc)
	s.Uts, s.UserNSMode, s.Cgroup, s.Isolation = string(c.UTSMode), string(c.UsernsMode), string(c.CgroupnsMode), string(c.Isolation)
	s.Runtime, s.ShmSize = c.Runtime, unitBytes(c.ShmSize)
	if c.ShmSize < 0 {
		return inWords("SHM size can not be less than 0")
	}
	if strings.HasPrefix(s.Pid, "service:") || strings.HasPrefix(s.Ipc, "service:") {
		return inWords("PidMode, IpcMode: there are no services here: use host or container:NAME")
	}
	return nil
}

// peer gives a mode container:NAME the id of the container, as long as that lasts.
func peer(mode string, h Host) (string, error) {
	name, ok := strings.CutPrefix(mode, "container:")
	if !ok {
		return mode, nil
	}
	if name == "" {
		return "", fmt.Errorf("invalid mode: %q: name a container", mode)
	}
	id, err := h.Container(name)
	if err != nil {
		return "", err
	}
	return "container:" + id, nil
}

// normal is a host configuration with docker's defaults, as inspect shows it.
func normal(h apicontainer.HostConfig) *apicontainer.HostConfig {
	set := func(to *string, value string) {
		if *to == "" {
			*to = value
		}
	}
	if h.NetworkMode == "" || h.NetworkMode == "default" {
		h.NetworkMode = "bridge"
	}
	set((*string)(&h.RestartPolicy.Name), string(apicontainer.RestartPolicyDisabled))
	set(&h.LogConfig.Type, "json-file")
	set((*string)(&h.IpcMode), "private")
	set((*string)(&h.CgroupnsMode), "private")
	if h.LogConfig.Config == nil {
		h.LogConfig.Config = map[string]string{}
	}
	if h.ShmSize == 0 {
		h.ShmSize = container.DefaultShm
	}
	if h.PidsLimit != nil && *h.PidsLimit <= 0 { // any of these is no limit
		h.PidsLimit = nil
	}
	if h.MemorySwappiness != nil && *h.MemorySwappiness == -1 {
		h.MemorySwappiness = nil
	}
	if h.Memory > 0 && h.MemorySwap == 0 {
		h.MemorySwap = 2 * h.Memory
	}
	if h.OomKillDisable != nil && !*h.OomKillDisable {
		h.OomKillDisable = nil
	}
	h.CapAdd, h.CapDrop = capabilities(h.CapAdd), capabilities(h.CapDrop)
	return &h
}

// capabilities are names in their long form, sorted, each once, as docker keeps them.
func capabilities(names []string) []string {
	var all []string
	for _, n := range names {
		n = strings.ToUpper(n)
		if n == "ALL" {
			return []string{n}
		}
		if !strings.HasPrefix(n, "CAP_") {
			n = "CAP_" + n
		}
		all = append(all, n)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
