package container

import (
	"slices"
	"strings"
)

// WithEnv is an environment with other values for some names: a name must not stand in it twice, for programs differ in
// which one they take.
func WithEnv(env, by []string) []string {
	for _, e := range by {
		name, _, _ := strings.Cut(e, "=")
		env = slices.DeleteFunc(env, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		env = append(env, e)
	}
	return env
}
