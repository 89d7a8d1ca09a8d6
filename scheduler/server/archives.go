package server

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// platformsOf reads the parameter platform, which may be there several times: an OCI platform as JSON, as docker's clients
// send it, or in the usual form.
func platformsOf(r *http.Request) ([]ocispec.Platform, error) {
	var list []ocispec.Platform
	for _, text := range r.URL.Query()["platform"] {
		var p ocispec.Platform
		err := json.Unmarshal([]byte(text), &p)
		if err != nil {
			p, err = platforms.Parse(text)
		}
		if err != nil {
			return nil, fmt.Errorf("platform %q: %w", text, err)
		}
		list = append(list, platforms.Normalize(p))
	}
	return list, nil
}
