package build

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"
)

// gitAuthHeader is the secret by which BuildKit asks for the Authorization header of a git server
// (https://docs.docker.com/build/building/secrets/, "Git authentication for remote contexts").
const gitAuthHeader = "GIT_AUTH_HEADER"

// withoutCredentials takes user and password out of the contexts' URLs: a URL is part
// of cache keys and of the databases. Those of a git server become a secret, which
// BuildKit asks for when it talks to this server. A file is fetched here, for BuildKit
// would tell every port of the host.
func withoutCredentials(ctx context.Context, solve *client.SolveOpt, r Request) (Request, error) {
	secrets := slices.Clone(r.Secrets)
	strip := func(raw string) (string, error) {
		u, err := url.Parse(raw)
		if err != nil || u.User == nil || u.Scheme != "http" && u.Scheme != "https" {
			return raw, nil //nolint:nilerr // what is no URL has no credentials of one
		}
		_, isGit, err := dfgitutil.ParseGitRef(raw)
		switch {
		case isGit && err != nil:
			return "", fmt.Errorf("build context %s: %w", redact(raw), err)
		case !isGit:
			body, err := fetch(ctx, u)
			if err != nil {
				return "", err
			}
			return uploads(solve).Add(body), nil
		}
		password, _ := u.User.Password()
		header := "basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
		secret := Secret{ID: gitAuthHeader + "." + u.Host, Value: []byte(header)}
		i := slices.IndexFunc(secrets, func(s Secret) bool { return s.ID == secret.ID })
		switch {
		case i < 0:
			secrets = append(secrets, secret)
		case string(secrets[i].Value) != header:
			return "", fmt.Errorf("build context %s: another context has other credentials for this host, or the build secret %s has: use one", redact(raw), secret.ID)
		}
		u.User = nil
		return u.String(), nil
	}
	var err error
	if r.Context, err = strip(r.Context); err != nil {
		return r, err
	}
	r.AdditionalContexts = maps.Clone(r.AdditionalContexts)
	for name, source := range r.AdditionalContexts {
		if r.AdditionalContexts[name], err = strip(source); err != nil {
			return r, err
		}
	}
	r.Secrets = secrets
	return r, nil
}

// fetch opens a file on a server that wants credentials. They are not sent on to where
// the server may redirect.
func fetch(ctx context.Context, u *url.URL) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", redact(u.String()), err)
	}
	answer, err := http.DefaultClient.Do(request)
	if about, ok := errors.AsType[*url.Error](err); ok {
		err = about.Err // without the URL
	}
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", redact(u.String()), err)
	}
	if answer.StatusCode != http.StatusOK {
		_ = answer.Body.Close() // there is nothing in it that is wanted
		return nil, fmt.Errorf("fetch %s: the server answers %s", redact(u.String()), answer.Status)
	}
	return answer.Body, nil
}
