package fromdocker

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	apicontainer "github.com/moby/moby/api/types/container"
)

// policies are what follows a start and an end: restarts, the grace period, the log.
func (w *Wanted) policies() error {
	s, h := &w.Service, w.host
	if err := CheckRestart(h.RestartPolicy); err != nil {
		return err
	}
	if h.AutoRemove && !h.RestartPolicy.IsNone() {
		return fmt.Errorf("can't create 'AutoRemove' container with restart policy")
	}
	s.Restart = string(h.RestartPolicy.Name)
	if n := h.RestartPolicy.MaximumRetryCount; n > 0 {
		s.Restart += ":" + strconv.Itoa(n)
	}
	if n := w.config.StopTimeout; n != nil {
		if *n > math.MaxInt64/int(time.Second) {
			return inWords("StopTimeout: %d seconds are too many", *n)
		}
		grace := types.Duration(time.Duration(*n) * time.Second)
		s.StopGracePeriod = &grace
	}
	s.LogDriver, s.LogOpt = h.LogConfig.Type, h.LogConfig.Config
	if s.LogDriver == "none" && len(s.LogOpt) > 0 {
		return inWords("LogConfig: the driver none has no options")
	}
	return w.resolver()
}

// CheckRestart says in docker's words what is wrong with a restart policy.
func CheckRestart(p apicontainer.RestartPolicy) error {
	if p.Name == "" && p.MaximumRetryCount != 0 {
		return fmt.Errorf("invalid restart policy: maximum retry count can only be used with 'on-failure'")
	}
	return apicontainer.ValidateRestartPolicy(p)
}

// resolver is what the container knows of names beside those of its networks.
func (w *Wanted) resolver() error {
	s, h := &w.Service, w.host
	for _, a := range h.DNS {
		if !a.IsValid() {
			return inWords("Dns: an address is missing")
		}
		s.DNS = append(s.DNS, a.String())
	}
	s.DNSOpts, s.DNSSearch = h.DNSOptions, h.DNSSearch
	s.ExtraHosts = types.HostsList{}
	for _, text := range h.ExtraHosts {
		// docker's form is name:address, in which the address may have colons; compose's name=address is taken, too.
		name, address, ok := strings.Cut(text, "=")
		if !ok {
			name, address, ok = strings.Cut(text, ":")
		}
		address = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
		if !ok || name == "" || strings.ContainsAny(name, " \t\n") {
			return fmt.Errorf("bad format for add-host: %q", text)
		}
		if _, err := netip.ParseAddr(address); err != nil && address != "host-gateway" {
			return fmt.Errorf("invalid IP address in add-host: %q", address)
		}
		s.ExtraHosts[name] = append(s.ExtraHosts[name], address)
	}
	for _, list := range [][]string{h.DNSOptions, h.DNSSearch} {
		for _, text := range list {
			if strings.ContainsAny(text, " \t\n") {
				return inWords("DnsOptions, DnsSearch: %q has a space", text)
			}
		}
	}
	return nil
}
