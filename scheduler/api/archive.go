package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
)

// PathStat is what is at a path of a container, as docker's API tells it.
type PathStat struct {
	Name       string      `json:"name"`
	Size       int64       `json:"size"`
	Mode       os.FileMode `json:"mode"`
	Mtime      time.Time   `json:"mtime"`
	LinkTarget string      `json:"linkTarget"` // of a symbolic link, an absolute path in the container
}

func archivePath(container string, q url.Values) string {
	return "/containers/" + url.PathEscape(container) + "/archive?" + q.Encode()
}

// StatPath describes what is at a path of a container.
func (c *Client) StatPath(ctx context.Context, container, path string) (PathStat, error) {
	r, err := c.do(ctx, http.MethodHead, archivePath(container, url.Values{"path": {path}}), nil)
	if err != nil {
		return PathStat{}, err
	}
	defer r.Body.Close()
	return pathStat(r)
}

// CopyFrom opens a tar of what is at a path of a container. The caller closes it.
func (c *Client) CopyFrom(ctx context.Context, container, path string) (io.ReadCloser, PathStat, error) {
	r, err := c.do(ctx, http.MethodGet, archivePath(container, url.Values{"path": {path}}), nil)
	if err != nil {
		return nil, PathStat{}, err
	}
	stat, err := pathStat(r)
	if err != nil {
		_ = r.Body.Close()
		return nil, stat, err
	}
	return r.Body, stat, nil
}

// CopyTo unpacks a tar into a folder of a container, where folders are not replaced by something else nor the other way
// round. With userOwner the files become those of the container's user.
func (c *Client) CopyTo(ctx context.Context, container, path string, userOwner bool, content io.Reader) error {
	q := url.Values{"path": {path}, "noOverwriteDirNonDir": {"true"}}
	if userOwner {
		q.Set("copyUIDGID", "true")
	}
	return c.Call(ctx, http.MethodPut, archivePath(container, q), content, nil)
}

func pathStat(r *http.Response) (s PathStat, err error) {
	text, err := base64.StdEncoding.DecodeString(r.Header.Get("X-Docker-Container-Path-Stat"))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read what the engine says of the path: %w", err)
	}
	return s, nil
}
