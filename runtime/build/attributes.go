package build

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/entitlements"
)

// grantable are the entitlements that a request may have.
var grantable = []string{string(entitlements.EntitlementNetworkHost), string(entitlements.EntitlementSecurityInsecure)}

// setAttributes sets the options of the Dockerfile frontend, see BuildKit's
// frontend/dockerui/config.go and attr.go.
func setAttributes(attrs map[string]string, r Request) {
	set := func(key, value string) {
		if value != "" {
			attrs[key] = value
		}
	}
	set("target", r.Target)
	for key, value := range r.Args {
		attrs["build-arg:"+key] = value
	}
	for key, value := range r.Labels {
		attrs["label:"+key] = value
	}
	attrs["image-resolve-mode"] = "local"
	if r.Pull {
		attrs["image-resolve-mode"] = "pull"
	}
	switch {
	case r.NoCache:
		attrs["no-cache"] = ""
	case len(r.NoCacheFilter) > 0:
		attrs["no-cache"] = strings.Join(r.NoCacheFilter, ",")
	}
	if r.Network != "default" {
		set("force-network-mode", r.Network)
	}
	set("platform", strings.Join(r.Platforms, ","))
	setSteps(attrs, r)
	setAttestation(attrs, "provenance", r.Provenance)
	setAttestation(attrs, "sbom", r.SBOM)
}

// setSteps sets what RUN steps find and may use.
func setSteps(attrs map[string]string, r Request) {
	var hosts, limits []string
	for _, name := range slices.Sorted(maps.Keys(r.ExtraHosts)) {
		for _, address := range r.ExtraHosts[name] {
			if address == hostGateway {
				address = hostGatewayMark.String()
			}
			hosts = append(hosts, name+"="+strings.Trim(address, "[]"))
		}
	}
	for _, u := range r.Ulimits {
		limits = append(limits, fmt.Sprintf("%s=%d:%d", u.Name, u.Soft, u.Hard))
	}
	for key, value := range map[string]string{
		"add-hosts": strings.Join(hosts, ","), "ulimit": strings.Join(limits, ","), "cpusetcpus": r.Limits.CPUs, "cpusetmems": r.Limits.Mems,
	} {
		if value != "" {
			attrs[key] = value
		}
	}
	for key, value := range map[string]int64{
		"shm-size": r.ShmSize, "memory": r.Limits.Memory, "memswap": r.Limits.MemorySwap,
		"cpushares": r.Limits.CPUShares, "cpuperiod": r.Limits.CPUPeriod, "cpuquota": r.Limits.CPUQuota,
	} {
		if value != 0 {
			attrs[key] = strconv.FormatInt(value, 10)
		}
	}
}

// setAttestation asks for a statement about the build, in docker's notation: a
// boolean, or attributes.
func setAttestation(attrs map[string]string, kind, value string) {
	if !isWanted(value) {
		return
	}
	if _, err := strconv.ParseBool(value); err == nil {
		value = ""
	}
	attrs["attest:"+kind] = value
}

// isWanted tells whether an attestation is asked for.
func isWanted(value string) bool {
	wanted, err := strconv.ParseBool(value)
	return value != "" && (err != nil || wanted)
}

// entitled are the rights that the request's steps may ask for.
func entitled(r Request) []string {
	granted := slices.Clone(r.Entitlements)
	if r.Network == "host" {
		granted = append(granted, string(entitlements.EntitlementNetworkHost))
	}
	if r.Privileged {
		granted = append(granted, string(entitlements.EntitlementSecurityInsecure))
	}
	return granted
}

// solveOptions turns a request into BuildKit's, and returns the files that it writes.
func (b *Builder) solveOptions(ctx context.Context, r Request) (_ client.SolveOpt, outputs []*outputFile, err error) {
	solve := client.SolveOpt{
		Frontend:            "dockerfile.v0",
		FrontendAttrs:       map[string]string{},
		Internal:            true, // no build history, nobody could look at it
		AllowedEntitlements: entitled(r),
	}
	if err := checkRequest(r); err != nil {
		return solve, nil, err
	}
	if r, err = withoutCredentials(ctx, &solve, r); err != nil {
		return solve, nil, err
	}
	setAttributes(solve.FrontendAttrs, r)
	if err := setCaches(&solve, r); err != nil {
		return solve, nil, err
	}
	if solve.Exports, outputs, err = b.exports(r); err != nil {
		return solve, nil, err
	}
	providers, err := attachables(r)
	if err != nil {
		return solve, nil, err
	}
	solve.Session = append(solve.Session, providers...)
	return solve, outputs, b.addContexts(ctx, &solve, r)
}
