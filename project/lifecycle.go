package project

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/compose-spec/compose-go/v2/types"
)

// checkHooks refuses hooks that could not be run.
func checkHooks(_ *types.Project, s *types.ServiceConfig) *fault {
	for key, hooks := range map[string][]types.ServiceHook{"post_start": s.PostStart, "pre_stop": s.PreStop} {
		for i, h := range hooks {
			if len(h.Command) == 0 || h.Command[0] == "" {
				return &fault{path: []string{key, strconv.Itoa(i)}, what: "its " + key + " hook has no command", fix: "say what to run, as in `command: [touch, /ready]`"}
			}
		}
	}
	for i, h := range s.PreStart {
		if h.PerReplica {
			return &fault{path: []string{"pre_start", strconv.Itoa(i)}, what: "`per_replica` is not implemented", fix: "remove it: the hook runs once for all containers of the service"}
		}
	}
	return nil
}

var restartConditions = []string{"", "none", "no", "on-failure", "any", "always", "unless-stopped"}

// checkRestart refuses a deploy.restart_policy that docker has no policy for.
func checkRestart(_ *types.Project, s *types.ServiceConfig) *fault {
	if s.Deploy == nil || s.Deploy.RestartPolicy == nil || slices.Contains(restartConditions, s.Deploy.RestartPolicy.Condition) {
		return nil
	}
	return &fault{
		path: []string{"deploy", "restart_policy", "condition"},
		what: fmt.Sprintf("%q is no condition to restart on", s.Deploy.RestartPolicy.Condition),
		fix:  "use none, on-failure or any",
	}
}
