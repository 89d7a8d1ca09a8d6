package project

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

// ReadEnv is what the flags --env and --env-from-file say together, as NAME=value, sorted: flags win over files, and a name
// alone takes the value that lookup has for it, or is left out.
func ReadEnv(flags, files []string, lookup func(string) (string, bool)) ([]string, error) {
	values := map[string]string{}
	for _, path := range files {
		read, err := readEnvFile(path, lookup)
		if err != nil {
			return nil, fmt.Errorf("environment file %s: %w", path, err)
		}
		maps.Copy(values, read)
	}
	for _, e := range flags {
		name, value, ok := strings.Cut(e, "=")
		if !ok {
			if value, ok = lookup(name); !ok {
				continue
			}
		}
		values[name] = value
	}
	env := make([]string, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		env = append(env, name+"="+values[name])
	}
	return env, nil
}

func readEnvFile(path string, lookup func(string) (string, bool)) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return dotenv.ParseWithLookup(f, lookup)
}
