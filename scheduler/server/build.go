package server

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/moby/buildkit/client"
	"github.com/moby/moby/api/types/registry"

	"tutti/runtime/image"
	imageregistry "tutti/runtime/image/registry"
	"tutti/scheduler/api"
	"tutti/scheduler/engine"
	"tutti/scheduler/imagebuild"
)

func (s *server) buildRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST "+api.Prefix+"/image-build", s.buildImage)
	mux.HandleFunc("POST /build", s.buildClassic)
}

// buildImage serves api.ImageBuildRequest, with what the context "-" is made of behind it.
func (s *server) buildImage(w http.ResponseWriter, r *http.Request) {
	d := json.NewDecoder(r.Body)
	var q api.ImageBuildRequest
	if err := d.Decode(&q); err != nil {
		fail(w, http.StatusBadRequest, errors.New("the request's body: "+err.Error()))
		return
	}
	rest := io.MultiReader(d.Buffered(), r.Body)
	if q.Context != "-" { // net/http notices that the client has gone only behind the end of the body
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return
		}
	} else if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	out := newLines(w)
	ctx := engine.WithVerb(r.Context(), "build")
	finishVerb(out, s.e.BuildImage(ctx, q, rest, func(e api.Event) { _ = out.send(e) }))
}

// buildClassic answers docker's old builder: what it says of errors before the build has begun is the status, afterwards
// it is the last message.
func (s *server) buildClassic(w http.ResponseWriter, r *http.Request) {
	if imagebuild.IsSession(r.URL.Query()) {
		s.buildForSession(w, r)
		return
	}
	auth, err := configuredAuth(r.Header.Get("X-Registry-Config"))
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	q, err := imagebuild.Classic(r.URL.Query(), r.Body)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	q.Auth = auth
	if q.Stdin == nil {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
	} else if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	quiet := flag(r, "q")
	out := newLines(w)
	tell := func(text string) {
		if !quiet {
			_ = out.send(message{Stream: text})
		}
	}
	transcript := imagebuild.NewTranscript(tell)
	built, err := s.e.BuildClassic(engine.WithVerb(r.Context(), "build"), q, func(st *client.SolveStatus) { transcript.Add(st) })
	if err != nil {
		_ = out.send(errorMessage(err))
		return
	}
	_ = out.send(message{Aux: map[string]string{"ID": built.ID}})
	if quiet {
		_ = out.send(message{Stream: built.ID + "\n"})
		return
	}
	tags := make([]string, 0, len(q.Tags))
	for _, tag := range q.Tags {
		if full, err := image.Normalize(tag); err == nil {
			tags = append(tags, image.Familiar(full))
		}
	}
	transcript.End(built.ID, tags)
}

// configuredAuth reads the credentials of all registries that a client of POST /build sends along.
func configuredAuth(header string) (image.Auth, error) {
	if header == "" {
		return nil, nil
	}
	data, err := base64.URLEncoding.DecodeString(header)
	if err != nil {
		data, err = base64.StdEncoding.DecodeString(header)
	}
	all := map[string]registry.AuthConfig{}
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		return nil, errors.New("X-Registry-Config is not base64url of JSON")
	}
	byHost := map[string]registry.AuthConfig{}
	for name, c := range all {
		if u, err := url.Parse(name); err == nil && u.Host != "" {
			name = u.Host
		}
		byHost[imageregistry.Name(name)] = c
	}
	return func(host string) (string, string, error) {
		c := byHost[host]
		if c.IdentityToken != "" {
			return "", c.IdentityToken, nil
		}
		return c.Username, c.Password, nil
	}, nil
}
