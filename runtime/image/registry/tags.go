package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"
)

// maxPages bounds in how many answers a registry may name the tags of one repository; each holds maxAnswer at most.
const maxPages = 1000

// Tags lists the tags of a repository, as the registry sorts them.
func (c *Clients) Tags(ctx context.Context, repository reference.Named, auth Auth) ([]string, error) {
	name := reference.Domain(repository)
	h, err := c.origin(name, auth, nil)
	if err != nil {
		return nil, err
	}
	path := reference.Path(repository)
	ctx = docker.WithScope(ctx, "repository:"+path+":pull")
	next := &url.URL{Scheme: h.Scheme, Host: h.Host, Path: h.Path + "/" + path + "/tags/list"}
	var tags []string
	for n := 0; next != nil; n++ {
		if n == maxPages {
			return nil, Explain(fmt.Errorf("list the tags of %s: more than %d pages", path, maxPages), name)
		}
		page, following, err := tagsPage(ctx, h, next)
		if err != nil {
			return nil, Explain(fmt.Errorf("list the tags of %s: %w", path, err), name)
		}
		tags = append(tags, page...)
		if len(page) == 0 {
			break // pages without an end
		}
		next = following
	}
	return tags, nil
}

// tagsPage reads one page, and where the next one is; nil after the last.
func tagsPage(ctx context.Context, h docker.RegistryHost, at *url.URL) ([]string, *url.URL, error) {
	var page struct{ Tags []string }
	resp, err := ask(ctx, h, at.String())
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	// The only relation of this link is "next" (OCI distribution specification, "Listing Tags").
	link, _, ok := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
	if !ok {
		return page.Tags, nil, nil
	}
	to, err := at.Parse(link)
	if err != nil {
		return nil, nil, fmt.Errorf("the link to the next page: %w", err)
	}
	if to.Host != at.Host || to.Scheme != at.Scheme {
		return nil, nil, fmt.Errorf("the link to the next page leads to %s", to.Host)
	}
	return page.Tags, to, nil
}
