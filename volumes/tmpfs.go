package volumes

import (
	"fmt"
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

// tmpfsValues are the options with a value (tmpfs(5)).
var tmpfsValues = map[string]bool{
	"size": true, "mode": true, "uid": true, "gid": true, "nr_inodes": true, "nr_blocks": true, "mpol": true,
}

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
		key, _, hasValue := strings.Cut(o, "=")
		opposite, isFlag := tmpfsFlags[o]
		switch {
		case o == "" || o == "defaults":
			continue
		case !isFlag && (!hasValue || !tmpfsValues[key]):
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
