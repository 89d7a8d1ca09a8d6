package ship

import (
	"fmt"
	"strings"
	"text/template"
)

// Names are what a tag's template may use, as Docker's (https://docs.docker.com/engine/logging/log_tags/).
type Names struct {
	FullID      string // 64 hex digits
	Name        string
	ImageFullID string
	ImageName   string
	DaemonName  string
}

// ID is the short form of the container's id.
func (n Names) ID() string { return short(n.FullID) }

// ImageID is the short form of the image's id.
func (n Names) ImageID() string { return short(strings.TrimPrefix(n.ImageFullID, "sha256:")) }

func short(id string) string { return id[:min(12, len(id))] }

// Tag renders the option `tag`; without it the tag is the container's short id.
func Tag(text string, n Names) (string, error) {
	if text == "" {
		return n.ID(), nil
	}
	t, err := template.New("tag").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", fmt.Errorf("the template in the logging option tag: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, n); err != nil {
		return "", fmt.Errorf("the template in the logging option tag: %w", err)
	}
	return b.String(), nil
}
