package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tutti/runtime/image"
	imageregistry "tutti/runtime/image/registry"
	"tutti/scheduler/api"
	"tutti/scheduler/credentials"
)

// registryRoutes are those that talk to registries; POST /images/create and /images/NAME/push are with the images.
func (s *server) registryRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /auth", s.login)
	mux.HandleFunc("GET /distribution/", func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/distribution/"), "/json")
		if !ok {
			fail(w, http.StatusNotFound, errors.New("page not found"))
			return
		}
		s.inspectRemote(w, r, name)
	})
}

// pullImage fetches an image or, when neither a tag nor a digest is given, all that a repository has, and streams docker's
// messages.
func (s *server) pullImage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	ref := q.Get("fromImage")
	if ref == "" {
		s.importImage(w, r)
		return
	}
	if tag := q.Get("tag"); strings.Contains(tag, ":") {
		ref += "@" + tag
	} else if tag != "" {
		ref += ":" + tag
	}
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("invalid reference %q: %w", ref, err))
		return
	}
	auth, err := s.credentials(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	refs := []string{ref}
	if reference.IsNameOnly(named) {
		tags, err := s.e.RemoteTags(r.Context(), ref, auth)
		if err != nil {
			failWith(w, err)
			return
		}
		refs = refs[:0]
		for _, tag := range tags {
			refs = append(refs, ref+":"+tag)
		}
	}
	out := newLines(w)
	for _, ref := range refs {
		if err := s.pullOne(r.Context(), out, ref, q.Get("platform"), auth); err != nil {
			_ = out.send(errorMessage(err))
			return
		}
	}
}

// pullOne fetches one image and says the same as dockerd.
func (s *server) pullOne(ctx context.Context, out *lines, ref, platform string, auth image.Auth) error {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return fmt.Errorf("invalid reference %q: %w", ref, err)
	}
	object := ""
	switch n := named.(type) {
	case reference.Digested:
		object = n.Digest().String()
	case reference.Tagged:
		object = n.Tag()
	}
	_ = out.send(message{Status: "Pulling from " + reference.Path(named), ID: object}) // a client that has gone does not undo the pull
	before, err := s.e.Image(ctx, ref)
	known := err == nil
	img, err := s.e.PullImage(ctx, ref, platform, auth, func(e api.Event) {
		_ = out.send(message{Status: e.Text, ID: e.Layer, ProgressDetail: &progress{e.Current, e.Total}})
	})
	if err != nil {
		return err
	}
	_ = out.send(message{Status: "Digest: " + img.Digest.String()})
	status := "Status: Downloaded newer image for "
	if known && before.ID == img.ID {
		status = "Status: Image is up to date for "
	}
	_ = out.send(message{Status: status + reference.FamiliarString(named)})
	return nil
}

// pushImage uploads an image or, when no tag is given, all that have the repository's name, and streams docker's messages;
// the last one of each names the digest.
func (s *server) pushImage(w http.ResponseWriter, r *http.Request, name string) {
	auth, err := s.credentials(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	platform, err := pushPlatform(r.URL.Query().Get("platform"))
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("invalid reference %q: %w", name, err))
		return
	}
	tags := []string{r.URL.Query().Get("tag")}
	if tagged, ok := named.(reference.Tagged); ok {
		tags[0] = tagged.Tag()
	} else if tags[0] == "" {
		if tags, err = s.tagsOf(r.Context(), named); err != nil {
			failWith(w, err)
			return
		}
	}
	named = reference.TrimNamed(named)
	out := newLines(w)
	_ = out.send(message{Status: "The push refers to repository [" + named.Name() + "]"})
	for _, tag := range tags {
		pushed, err := s.e.PushImage(r.Context(), named.Name()+":"+tag, platform, auth, func(e api.Event) {
			_ = out.send(message{Status: e.Text, ID: e.Layer, ProgressDetail: &progress{e.Current, e.Total}})
		})
		if err != nil {
			_ = out.send(errorMessage(err))
			return
		}
		_ = out.send(message{Status: fmt.Sprintf("%s: digest: %s size: %d", tag, pushed.Digest, pushed.Size)})
		_ = out.send(message{Aux: map[string]any{"Tag": tag, "Digest": pushed.Digest, "Size": pushed.Size}})
	}
}

// tagsOf lists the tags that the store has of a repository.
func (s *server) tagsOf(ctx context.Context, repository reference.Named) ([]string, error) {
	images, err := s.e.Images(ctx)
	if err != nil {
		return nil, err
	}
	var tags []string
	for _, i := range images {
		for _, name := range i.Names {
			named, err := reference.ParseNormalizedNamed(name)
			if tagged, ok := named.(reference.NamedTagged); err == nil && ok && tagged.Name() == repository.Name() {
				tags = append(tags, tagged.Tag())
			}
		}
	}
	if len(tags) == 0 {
		return nil, fmt.Errorf("%w: an image does not exist locally with the tag: %s", image.ErrNotFound, reference.FamiliarName(repository))
	}
	slices.Sort(tags)
	return tags, nil
}

// pushPlatform reads the JSON of a platform (Docker Engine API 1.46).
func pushPlatform(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	var p ocispec.Platform
	if err := json.Unmarshal([]byte(text), &p); err != nil || p.OS == "" || p.Architecture == "" {
		return "", fmt.Errorf("invalid platform %q: it is not JSON with an os and an architecture", text)
	}
	return platforms.Format(p), nil
}

// inspectRemote answers GET /distribution/NAME/json: what a registry says of an image.
func (s *server) inspectRemote(w http.ResponseWriter, r *http.Request, name string) {
	auth, err := s.credentials(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	found, err := s.e.InspectRemote(r.Context(), name, auth)
	if err != nil {
		failWith(w, err)
		return
	}
	answer(w, registry.DistributionInspect{Descriptor: found.Descriptor, Platforms: found.Platforms})
}

// credentials are those in docker's header, or the user's configuration that tutti names.
func (s *server) credentials(r *http.Request) (image.Auth, error) {
	header := r.Header.Get("X-Registry-Auth")
	if header == "" {
		return credentials.Registry(r.URL.Query().Get("tuttiDockerConfig")), nil
	}
	var c registry.AuthConfig
	// Clients write it with padding and without.
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(header, "="))
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		return nil, errors.New("X-Registry-Auth is not base64url of JSON") // with no word of what it is
	}
	if c.RegistryToken != "" {
		return nil, errors.New("X-Registry-Auth: registrytoken is not supported: give a user and password, or an identitytoken")
	}
	return fixedAuth(c), nil
}

// fixedAuth gives one registry's credentials to this registry alone, if they say whose they are.
func fixedAuth(c registry.AuthConfig) image.Auth {
	wanted := c.ServerAddress
	if u, err := url.Parse(wanted); err == nil && u.Host != "" {
		wanted = u.Host
	}
	return func(host string) (string, string, error) {
		if wanted != "" && imageregistry.Name(wanted) != host {
			return "", "", nil
		}
		if c.IdentityToken != "" {
			return "", c.IdentityToken, nil
		}
		return c.Username, c.Password, nil
	}
}

// login asks a registry whether it takes the credentials.
func (s *server) login(w http.ResponseWriter, r *http.Request) {
	c, ok := read[registry.AuthConfig](w, r)
	if !ok {
		return
	}
	host := c.ServerAddress
	if u, err := url.Parse(host); err == nil && u.Host != "" {
		host = u.Host
	}
	host = imageregistry.Name(host)
	c.ServerAddress = host
	identity, err := s.e.Login(r.Context(), host, fixedAuth(c))
	if err != nil {
		code := http.StatusInternalServerError
		if errors.Is(err, imageregistry.ErrCredentials) {
			code = http.StatusUnauthorized
		}
		fail(w, code, err)
		return
	}
	answer(w, registry.AuthResponse{Status: "Login Succeeded", IdentityToken: identity})
}
