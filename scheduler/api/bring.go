package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
)

// Removal is a path of a container that is to go, unless it is of the kind Spared: "file", "folder", or "" for none.
type Removal struct {
	Path   string `json:"path"`
	Spared string `json:"spared,omitempty"`
}

// BringRequest is the first line of the body of PUT /bring/{container}; the tar follows it.
type BringRequest struct {
	Remove []Removal `json:"remove,omitempty"`
}

// Bring removes files of a container and unpacks a tar whose names begin at its root, in one go. The files become those of
// the container's user.
func (c *Client) Bring(ctx context.Context, container string, remove []Removal, content io.Reader) error {
	head, err := json.Marshal(BringRequest{Remove: remove})
	if err != nil {
		return err
	}
	body := io.MultiReader(bytes.NewReader(append(head, '\n')), content)
	return c.Call(ctx, http.MethodPut, Prefix+"/bring/"+url.PathEscape(container), body, nil)
}
