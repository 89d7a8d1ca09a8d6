package container

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime"
)

// rlimits are the service's ulimits under their kernel names, sorted. -1 is no limit.
func rlimits(s types.ServiceConfig) ([]specs.POSIXRlimit, error) {
	var all []specs.POSIXRlimit
	for _, name := range slices.Sorted(maps.Keys(s.Ulimits)) {
		u := s.Ulimits[name]
		soft, hard := u.Soft, u.Hard
		if u.Single != 0 {
			soft, hard = u.Single, u.Single
		}
		l := specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(name), Soft: uint64(soft), Hard: uint64(hard)} //nolint:gosec // -1 is RLIM_INFINITY
		switch {
		case !runtime.KnownRlimit(l.Type):
			return nil, At(fmt.Errorf("%q is no limit of the kernel's: see ulimit in docker run", name), "ulimits", name)
		case soft < -1 || hard < -1:
			return nil, At(fmt.Errorf("%s: %d is no limit: use -1 for none", name, min(soft, hard)), "ulimits", name)
		case l.Soft > l.Hard:
			return nil, At(fmt.Errorf("%s: the soft limit %d is above the hard limit %d", name, soft, hard), "ulimits", name)
		}
		all = append(all, l)
	}
	return all, nil
}
