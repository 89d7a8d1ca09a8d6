package api

import (
	"context"
	"net/http"
)

// ReplaceRequest asks the engine to make way for one from another program.
type ReplaceRequest struct {
	Program string `json:"program"` // absolute path
}

// Replace asks the engine to end and to have the keeper start the program at an absolute path as the next one. Containers
// go on. The engine refuses (409) while it serves other requests.
func (c *Client) Replace(ctx context.Context, program string) error {
	return c.Call(ctx, http.MethodPost, Prefix+"/replace", ReplaceRequest{Program: program}, nil)
}
