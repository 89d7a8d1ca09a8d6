package build

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/tonistiigi/go-csvvalue"
)

// inlineCacheArg is the build argument by which docker asks for a cache inside of
// the image (BuildKit's documentation of build arguments).
const inlineCacheArg = "BUILDKIT_INLINE_CACHE"

// setCaches sets the caches that are read and written beside our own.
func setCaches(solve *client.SolveOpt, r Request) (err error) {
	if solve.CacheImports, err = parseCache(r.CacheFrom); err != nil {
		return fmt.Errorf("cache_from: %w", err)
	}
	if solve.CacheExports, err = parseCache(r.CacheTo); err != nil {
		return fmt.Errorf("cache_to: %w", err)
	}
	if inline, err := strconv.ParseBool(r.Args[inlineCacheArg]); err == nil && inline {
		solve.CacheExports = append(solve.CacheExports, client.CacheOptionsEntry{Type: "inline", Attrs: map[string]string{}})
	}
	return nil
}

// parseCache reads docker's notation of a cache: "type=local,src=dir", or the name
// of an image in a registry.
func parseCache(entries []string) ([]client.CacheOptionsEntry, error) {
	var list []client.CacheOptionsEntry
	for _, entry := range entries {
		if !strings.Contains(entry, "=") {
			list = append(list, client.CacheOptionsEntry{Type: "registry", Attrs: map[string]string{"ref": entry}})
			continue
		}
		fields, err := csvvalue.Fields(entry, nil)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", entry, err)
		}
		parsed := client.CacheOptionsEntry{Attrs: map[string]string{}}
		for _, field := range fields {
			key, value, ok := strings.Cut(field, "=")
			if !ok {
				return nil, fmt.Errorf("%q: %q is not key=value", entry, field)
			}
			if key == "type" {
				parsed.Type = value
				continue
			}
			parsed.Attrs[key] = value
		}
		switch parsed.Type {
		case "registry", "local", "inline":
		default:
			return nil, fmt.Errorf("%q: cache type %q is not supported: registry, local or inline", entry, parsed.Type)
		}
		list = append(list, parsed)
	}
	return list, nil
}
