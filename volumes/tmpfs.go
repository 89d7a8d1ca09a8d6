package volumes

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// tmpfsFlags pairs each flag that a tmpfs may have with its opposite.
var tmpfsFlags = map[string]string{
	"exec": "noexec", "noexec": "exec", "suid": "nosuid", "nosuid": "suid", "dev": "nodev", "nodev": "dev",
	"ro": "rw", "rw": "ro", "sync": "async", "async": "sync", "dirsync": "",
	"atime": "noatime", "noatime": "atime", "diratime": "nodiratime", "nodiratime": "diratime",
	"relatime": "norelatime", "norelatime": "relatime", "strictatime": "nostrictatime", "nostrictatime": "strictatime",
}

// tmpfsValues are the options with a value (tmpfs(5)) and what their values look like.
var tmpfsValues = map[string]*regexp.Regexp{
	"size": regexp.MustCompile(`^[0-9]+[kKmMgGtTpPeE%]?$`), "nr_inodes": tmpfsCount, "nr_blocks": tmpfsCount,
	"mode": regexp.MustCompile(`^[0-7]{1,5}$`), "uid": tmpfsID, "gid": tmpfsID, "mpol": regexp.MustCompile(`^[a-z0-9:,=-]+$`),
}

var (
	tmpfsCount = regexp.MustCompile(`^[0-9]+[kKmMgGtTpPeE]?$`)
	tmpfsID    = regexp.MustCompile(`^[0-9]{1,10}$`)
)

// tmpfsMount makes a tmpfs with docker's defaults: noexec, nosuid and nodev unless the
// opposite is given. A later option replaces an earlier one.
func tmpfsMount(w Mount) (specs.Mount, error) {
	options := []string{"noexec", "nosuid", "nodev", "rprivate"}
	given := []string{}
	if w.Size > 0 {
		given = append(given, "size="+strconv.FormatInt(w.Size, 10))
	}
	if w.Mode != 0 {
		given = append(given, "mode="+strconv.FormatUint(uint64(w.Mode), 8))
	}
	for _, o := range w.Options {
		given = append(given, strings.Split(o, ",")...)
	}
	if w.ReadOnly {
		given = append(given, "ro")
	}
	for _, o := range given {
		key, value, hasValue := strings.Cut(o, "=")
		opposite, isFlag := tmpfsFlags[o]
		switch {
		case o == "" || o == "defaults":
			continue
		case hasValue && tmpfsValues[key] != nil && !tmpfsValues[key].MatchString(value):
			return specs.Mount{}, fmt.Errorf("%w on %s: the option %q of a tmpfs has no value that makes sense", ErrMount, w.Target, o)
		case !isFlag && (!hasValue || tmpfsValues[key] == nil):
			return specs.Mount{}, fmt.Errorf("%w on %s: unknown option %q of a tmpfs", ErrMount, w.Target, o)
		}
		kept := options[:0]
		for _, have := range options {
			haveKey, _, _ := strings.Cut(have, "=")
			if have != o && have != opposite && (!hasValue || haveKey != key) {
				kept = append(kept, have)
			}
		}
		options = append(kept, o)
	}
	return specs.Mount{Destination: w.Target, Type: "tmpfs", Source: "tmpfs", Options: options}, nil
}

// CheckTmpfs says what is wrong with the options or the target of a tmpfs.
func CheckTmpfs(m Mount) error {
	if _, err := cleanTarget(m.Target); err != nil {
		return err
	}
	_, err := tmpfsMount(m)
	return err
}
