package clients

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/entitlements"
)

// ExporterMoby is how docker's clients call the engine's image store.
const ExporterMoby = "moby"

var (
	exporters = []string{client.ExporterLocal, client.ExporterTar, client.ExporterOCI, client.ExporterDocker}
	caches    = []string{"inline", "local", "registry"}
)

// attributes of the frontend, frontend/dockerui of BuildKit.
const (
	attrPlatform     = "platform"
	attrCgroupParent = "cgroup-parent"
	attrProvenance   = "attest:provenance"
)

// prepare makes a client's request one that this engine takes, or tells what it does not. names are those that the image gets.
func prepare(q *controlapi.SolveRequest, platforms func([]string) error) (names []string, err error) {
	if len(q.Exporters) == 0 && q.ExporterDeprecated != "" {
		q.Exporters = []*controlapi.Exporter{{Type: q.ExporterDeprecated, Attrs: q.ExporterAttrsDeprecated}}
	}
	q.ExporterDeprecated, q.ExporterAttrsDeprecated = "", nil
	for _, e := range q.Exporters {
		if e.Type == client.ExporterImage { // of clients that do not know where they are
			e.Type = ExporterMoby
		}
		if e.Type != ExporterMoby {
			if !slices.Contains(exporters, e.Type) {
				return nil, fmt.Errorf("exporter %q could not be found: there are %s and %s", e.Type, strings.Join(exporters, ", "), ExporterMoby)
			}
			continue
		}
		more, _, err := imageAttrs(e.Attrs)
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	for _, c := range q.Cache.GetExports() {
		if !slices.Contains(caches, c.Type) {
			return nil, fmt.Errorf("unknown cache exporter: %q: there are %s", c.Type, strings.Join(caches, ", "))
		}
	}
	if err := checkEntitlements(q.Entitlements); err != nil {
		return nil, err
	}
	// Clients that are not told otherwise add a statement about the build to the image where the engine stores several
	// manifests under a name. It would make a different image of each build.
	if strings.Contains(q.FrontendAttrs[attrProvenance], "inline-only=true") {
		delete(q.FrontendAttrs, attrProvenance)
	}
	return names, checkAttributes(q.FrontendAttrs, platforms)
}

// checkEntitlements refuses what docker's engine does not grant by default.
func checkEntitlements(wanted []string) error {
	for _, name := range wanted {
		if e, _, _ := strings.Cut(name, "="); e != string(entitlements.EntitlementNetworkHost) {
			return fmt.Errorf("granting entitlement %s is not allowed by build daemon configuration: a client of the docker API gets network.host alone, `tutti image build --allow` grants security.insecure", name)
		}
	}
	return nil
}

// checkAttributes refuses what the frontend would leave to us and we cannot do.
func checkAttributes(attrs map[string]string, platforms func([]string) error) error {
	if attrs[attrCgroupParent] != "" {
		return errors.New("cgroup-parent is not supported for builds")
	}
	if list := attrs[attrPlatform]; list != "" {
		return platforms(strings.Split(list, ","))
	}
	return nil
}
