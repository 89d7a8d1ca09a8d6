package image

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// danglingPrefix names images that have no name: "dangling@sha256:...". It is no
// valid reference for people, whose names always have a host in their normal form.
const danglingPrefix = "dangling@"

// idPattern is what people may write for an image ID or a prefix of one.
var idPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(sha256:)?[0-9a-f]{1,64}$`) })

// Normalize turns a name as people write it into its full form: "nginx" becomes
// "docker.io/library/nginx:latest". A digest makes the tag irrelevant, as in
// docker: "nginx:1@sha256:..." becomes "docker.io/library/nginx@sha256:...".
func Normalize(name string) (string, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", fmt.Errorf("invalid image name %q: %w", name, err)
	}
	if digested, ok := named.(reference.Digested); ok {
		canonical, err := reference.WithDigest(reference.TrimNamed(named), digested.Digest())
		if err != nil {
			return "", fmt.Errorf("invalid image name %q: %w", name, err)
		}
		return canonical.String(), nil
	}
	return reference.TagNameOnly(named).String(), nil
}

// Familiar is the short form of a name, for display: the reverse of Normalize.
// A string that is no image name is returned as it is.
func Familiar(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.FamiliarString(named)
}

// danglingName is the record name of an image without a name.
func danglingName(target digest.Digest) string { return danglingPrefix + target.String() }

func isDangling(name string) bool { return strings.HasPrefix(name, danglingPrefix) }

// repository is the part of a full name before tag and digest.
func repository(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return ""
	}
	return reference.TrimNamed(named).Name()
}
