package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tutti/runtime/image/registry"
)

// Auth is registry.Auth: what gives the user's credentials for a registry.
type Auth = registry.Auth

// remoteImage is an image in a registry, as the transfer service wants it: source
// of a pull and target of a push.
type remoteImage struct {
	name     string
	resolver remotes.ResolverWithOptions
}

func (s *Store) remote(name string, auth Auth) *remoteImage {
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: s.clients.Hosts(auth)})
	return &remoteImage{name: name, resolver: resolver.(remotes.ResolverWithOptions)}
}

func (r *remoteImage) String() string { return Familiar(r.name) }

func (r *remoteImage) Resolve(ctx context.Context) (string, ocispec.Descriptor, error) {
	name, desc, err := r.resolver.Resolve(ctx, r.name)
	if err == nil && !isImage(desc) {
		err = fmt.Errorf("it answers with a %q, which is no image", desc.MediaType)
	}
	return name, desc, err
}

func (r *remoteImage) SetResolverOptions(options ...transfer.ImageResolverOption) {
	r.resolver.SetOptions(options...)
}

func (r *remoteImage) Fetcher(ctx context.Context, name string) (transfer.Fetcher, error) {
	f, err := r.resolver.Fetcher(ctx, name)
	if err != nil {
		return nil, err
	}
	return exactFetcher{f}, nil
}

func (r *remoteImage) Pusher(ctx context.Context, desc ocispec.Descriptor) (transfer.Pusher, error) {
	ref := r.name
	if !strings.Contains(ref, "@") {
		ref += "@" + desc.Digest.String() // containerd: the tag is set with this manifest and no other
	}
	return r.resolver.Pusher(ctx, ref)
}

// host is the registry of a full name.
func host(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.Domain(named)
}

// exactFetcher gives no more bytes than were promised: a body without an end does not fill the disk.
type exactFetcher struct{ remotes.Fetcher }

func (f exactFetcher) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	body, err := f.Fetcher.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	seeker, ok := body.(io.ReadSeekCloser)
	if !ok {
		body.Close()
		return nil, errors.New("the registry's answer cannot be read from the middle")
	}
	return &exactBody{body: seeker, desc: desc}, nil
}

type exactBody struct {
	body   io.ReadSeekCloser
	desc   ocispec.Descriptor
	offset int64
}

func (b *exactBody) Read(p []byte) (int, error) {
	left := b.desc.Size - b.offset
	if left <= 0 {
		var more [1]byte
		n, err := b.body.Read(more[:])
		if n > 0 {
			return 0, fmt.Errorf("%s has more than the %d bytes that its manifest says", b.desc.Digest, b.desc.Size)
		}
		return 0, err
	}
	n, err := b.body.Read(p[:min(int64(len(p)), left)])
	b.offset += int64(n)
	return n, err
}

func (b *exactBody) Seek(offset int64, whence int) (int64, error) {
	at, err := b.body.Seek(offset, whence)
	if err == nil {
		b.offset = at
	}
	return at, err
}

func (b *exactBody) Close() error { return b.body.Close() }

// Login asks a registry whether it takes the credentials; see registry.Clients.Login.
func (s *Store) Login(ctx context.Context, host string, auth Auth) (identity string, err error) {
	return s.clients.Login(ctx, host, auth)
}

// Tags lists the tags that the registry has of a repository, such as "debian".
func (s *Store) Tags(ctx context.Context, repository string, auth Auth) ([]string, error) {
	named, err := reference.ParseNormalizedNamed(repository)
	if err != nil {
		return nil, fmt.Errorf("invalid image name %q: %w", repository, err)
	}
	return s.clients.Tags(ctx, named, auth)
}

// Remote is what a registry says of an image, without fetching it.
type Remote struct {
	Descriptor ocispec.Descriptor // of what the name points to
	Platforms  []ocispec.Platform
}

// Inspect asks a registry what an image is.
func (s *Store) Inspect(ctx context.Context, ref string, auth Auth) (Remote, error) {
	name, err := Normalize(ref)
	if err != nil {
		return Remote{}, err
	}
	var found Remote
	err = registry.Retry(ctx, func() error {
		found, err = inspect(ctx, s.remote(name, auth))
		return err
	})
	if err != nil {
		return Remote{}, fmt.Errorf("inspect %s: %w", Familiar(name), registry.Explain(err, host(name)))
	}
	return found, nil
}

func inspect(ctx context.Context, r *remoteImage) (Remote, error) {
	name, desc, err := r.Resolve(ctx)
	if err != nil {
		return Remote{}, err
	}
	fetcher, err := r.Fetcher(ctx, name)
	if err != nil {
		return Remote{}, err
	}
	found := Remote{Descriptor: desc}
	if images.IsIndexType(desc.MediaType) {
		var index ocispec.Index
		if err := fetchJSON(ctx, fetcher, desc, maxManifest, &index); err != nil {
			return Remote{}, err
		}
		for _, m := range index.Manifests {
			if m.Platform != nil && !isAttestation(m) {
				found.Platforms = append(found.Platforms, *m.Platform)
			}
		}
		return found, nil
	}
	var manifest ocispec.Manifest
	var config struct{ ocispec.Platform }
	if err := fetchJSON(ctx, fetcher, desc, maxManifest, &manifest); err != nil {
		return Remote{}, err
	}
	if err := fetchJSON(ctx, fetcher, manifest.Config, maxConfig, &config); err != nil {
		return Remote{}, err
	}
	found.Platforms = []ocispec.Platform{config.Platform}
	return found, nil
}

// fetchJSON reads a small blob, whose digest it checks.
func fetchJSON(ctx context.Context, from transfer.Fetcher, desc ocispec.Descriptor, limit int64, v any) error {
	if err := desc.Digest.Validate(); err != nil {
		return fmt.Errorf("a manifest refers to %q: %w", desc.Digest, err)
	}
	if desc.Size > limit {
		return fmt.Errorf("%s %s has %d bytes, more than %d", desc.MediaType, desc.Digest, desc.Size, limit)
	}
	body, err := from.Fetch(ctx, desc)
	if err != nil {
		return err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("read %s: %w", desc.Digest, err)
	}
	if got := desc.Digest.Algorithm().FromBytes(data); got != desc.Digest {
		return fmt.Errorf("%s is something else, %s", desc.Digest, got)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("parse %s %s: %w", desc.MediaType, desc.Digest, err)
	}
	return nil
}
