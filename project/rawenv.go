package project

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

// The loader leaves this format of env_file to its users.
func init() { dotenv.RegisterFormat("raw", rawEnv) }

// rawEnv reads an env_file of `format: raw`, which is that of `docker run --env-file`:
// values are taken as they are, without quotes or variables; a name without = takes its
// value from the environment.
func rawEnv(r io.Reader, filename string, vars map[string]string, lookup func(string) (string, bool)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxFileSize)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimLeft(strings.TrimPrefix(lines.Text(), "\ufeff"), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, set := strings.Cut(line, "=")
		if name == "" || strings.ContainsAny(name, " \t") {
			return fmt.Errorf("%s, line %d: %q is no variable name", filename, n, name)
		}
		if !set {
			if value, set = lookup(name); !set {
				continue
			}
		}
		vars[name] = value
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", filename, err)
	}
	return nil
}
