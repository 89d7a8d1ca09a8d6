package createflags

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/docker/go-units"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/tonistiigi/go-csvvalue"
)

// pairs are KEY=VALUE; a key alone has an empty value.
func pairs(list []string) map[string]string {
	if len(list) == 0 {
		return nil
	}
	m := map[string]string{}
	for _, p := range list {
		key, value, _ := strings.Cut(p, "=")
		m[key] = value
	}
	return m
}

// strictPairs are KEY=VALUE.
func strictPairs(flag string, list []string) (map[string]string, error) {
	for _, p := range list {
		if key, _, ok := strings.Cut(p, "="); !ok || key == "" {
			return nil, fmt.Errorf("invalid argument %q for \"--%s\" flag: write NAME=VALUE", p, flag)
		}
	}
	return pairs(list), nil
}

// field is KEY=VALUE, or KEY alone, of a comma-separated list.
type field struct {
	key, value string
	hasValue   bool
}

func fieldsOf(flag, text string) ([]field, error) {
	list, err := csvvalue.Fields(text, nil)
	if err != nil {
		return nil, fmt.Errorf("invalid argument %q for \"--%s\" flag: %w", text, flag, err)
	}
	var all []field
	for _, f := range list {
		key, value, ok := strings.Cut(f, "=")
		all = append(all, field{strings.ToLower(strings.TrimSpace(key)), value, ok})
	}
	return all, nil
}

// lines are those of files, without comments and empty ones.
func (u User) lines(flag string, files []string) ([]string, error) {
	var all []string
	for _, path := range files {
		text, err := u.read(path)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		n := 0
		for line := range strings.Lines(strings.TrimPrefix(text, "\uFEFF")) {
			n++
			line = strings.TrimLeftFunc(strings.TrimRight(line, "\r\n"), unicode.IsSpace)
			if line == "" || line[0] == '#' {
				continue
			}
			if key, _, _ := strings.Cut(line, "="); key == "" || strings.ContainsFunc(key, unicode.IsSpace) {
				return nil, fmt.Errorf("--%s: %s:%d: %q is no name of a variable", flag, path, n, key)
			}
			all = append(all, line)
		}
	}
	return all, nil
}

// variables are those of files, as they stand there, and then of flags. One without a value has that of the user's
// environment, or is left out of the container's.
func (u User) variables(flag string, files, given []string) ([]string, error) {
	read, err := u.lines(flag, files)
	if err != nil {
		return nil, err
	}
	all := []string{}
	for i, e := range append(read, given...) {
		name, _, ok := strings.Cut(e, "=")
		if name == "" {
			return nil, fmt.Errorf("invalid environment variable: %s", e)
		}
		if !ok {
			value, there := u.Env(name)
			switch {
			case there:
				e = name + "=" + value
			case i < len(read):
				continue
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// sizeFlag is a flag that is a size: a number with a unit, 0 when it is not given.
type sizeFlag struct {
	n         int64
	unlimited bool // -1 is a value
}

func (b *sizeFlag) String() string {
	if b.n == 0 {
		return ""
	}
	return units.BytesSize(float64(b.n))
}
func (b *sizeFlag) Type() string { return "bytes" }
func (b *sizeFlag) Set(text string) (err error) {
	if b.unlimited && text == "-1" {
		b.n = -1
		return nil
	}
	b.n, err = units.RAMInBytes(text)
	return err
}

// cpus is a flag that is a number of processors, in billionths of one.
type cpus int64

func (c *cpus) String() string {
	if *c == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*c)/1e9, 'f', -1, 64)
}
func (c *cpus) Type() string { return "decimal" }
func (c *cpus) Set(text string) error {
	whole, fraction, _ := strings.Cut(text, ".")
	if len(fraction) > 9 {
		return fmt.Errorf("value is too precise: %s", text)
	}
	if whole == "" {
		whole = "0"
	}
	n, err := strconv.ParseUint(whole+(fraction + "000000000")[:9], 10, 63)
	if err != nil {
		return fmt.Errorf("failed to parse %s as a number of CPUs", text)
	}
	*c = cpus(n) //nolint:gosec // 63 bits
	return nil
}

// restartPolicy reads --restart: NAME[:RETRIES].
func restartPolicy(text string) (p apicontainer.RestartPolicy, err error) {
	name, retries, ok := strings.Cut(text, ":")
	p.Name = apicontainer.RestartPolicyMode(name)
	if ok {
		if p.MaximumRetryCount, err = strconv.Atoi(retries); err != nil {
			return p, fmt.Errorf("invalid restart policy format: maximum retry count must be an integer")
		}
	}
	if name == "" && text != "" {
		return p, fmt.Errorf("invalid restart policy format: no policy provided before colon")
	}
	return p, apicontainer.ValidateRestartPolicy(p)
}
