package server

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/containerd/platforms"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	apicontainer "github.com/moby/moby/api/types/container"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tutti/runtime/files"
	"tutti/scheduler/api"
	"tutti/scheduler/engine"
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

// archiveRoutes are docker's requests about the files of a container, and about what becomes of them.
func (s *server) archiveRoutes(mux *http.ServeMux) {
	mux.HandleFunc("HEAD /containers/{id}/archive", s.statArchive)
	mux.HandleFunc("GET /containers/{id}/archive", s.getArchive)
	mux.HandleFunc("PUT /containers/{id}/archive", s.putArchive)
	mux.HandleFunc("PUT "+api.Prefix+"/bring/{id}", s.bring)
	mux.HandleFunc("GET /containers/{id}/export", func(w http.ResponseWriter, r *http.Request) {
		s.stream(w, func(out io.Writer) error { return s.e.Export(r.Context(), r.PathValue("id"), out) })
	})
	mux.HandleFunc("GET /containers/{id}/changes", s.containerChanges)
	mux.HandleFunc("POST /commit", s.commit)
}

// stream answers with an archive. What fails before its first byte is answered as an error.
func (s *server) stream(w http.ResponseWriter, write func(io.Writer) error) {
	out := &lateHeader{ResponseWriter: w}
	if err := write(out); err != nil {
		if out.begun {
			panic(http.ErrAbortHandler) // half an archive must not look like a whole one
		}
		failWith(w, err)
	}
}

// archivePath is the parameter path, which must be there.
func archivePath(w http.ResponseWriter, r *http.Request) (string, bool) {
	path := r.URL.Query().Get("path")
	if path == "" {
		fail(w, http.StatusBadRequest, errors.New("path cannot be empty"))
	}
	return path, path != ""
}

// setPathStat puts what is at a path into the header that docker's clients read it from.
func setPathStat(w http.ResponseWriter, i files.Info) {
	text, _ := json.Marshal(apicontainer.PathStat{Name: i.Name, Size: i.Size, Mode: i.Mode, Mtime: i.Mtime, LinkTarget: i.LinkTarget}) // never fails
	w.Header().Set("X-Docker-Container-Path-Stat", base64.StdEncoding.EncodeToString(text))
}

func (s *server) statArchive(w http.ResponseWriter, r *http.Request) {
	path, ok := archivePath(w, r)
	if !ok {
		return
	}
	info, err := s.e.StatPath(r.Context(), r.PathValue("id"), path)
	if err != nil {
		failWith(w, err)
		return
	}
	setPathStat(w, info)
}

func (s *server) getArchive(w http.ResponseWriter, r *http.Request) {
	path, ok := archivePath(w, r)
	if !ok {
		return
	}
	s.stream(w, func(out io.Writer) error {
		return s.e.CopyOut(r.Context(), r.PathValue("id"), path, out, func(i files.Info) { setPathStat(w, i) })
	})
}

func (s *server) putArchive(w http.ResponseWriter, r *http.Request) {
	path, ok := archivePath(w, r)
	if !ok {
		return
	}
	o := engine.CopyInOptions{KeepKind: flag(r, "noOverwriteDirNonDir"), UserOwner: flag(r, "copyUIDGID")}
	if err := s.e.CopyIn(r.Context(), r.PathValue("id"), path, r.Body, o); err != nil {
		answerEarly(w, r, func() { failWith(w, err) })
	}
}

// answerEarly answers a request whose body has not been read to its end. The connection must not be closed before the
// client has read the answer: the kernel would throw it away with what nobody has read.
func answerEarly(w http.ResponseWriter, r *http.Request, answer func()) {
	c := http.NewResponseController(w)
	_ = c.EnableFullDuplex() // known to every server of net/http
	w.Header().Set("Connection", "close")
	answer()
	_ = c.Flush()
	_, _ = io.Copy(io.Discard, r.Body) // until the client goes
}

func (s *server) containerChanges(w http.ResponseWriter, r *http.Request) {
	list, err := s.e.Changes(r.Context(), r.PathValue("id"))
	all := []apicontainer.FilesystemChange{}
	for _, c := range list {
		all = append(all, apicontainer.FilesystemChange{Kind: apicontainer.ChangeType(c.Kind), Path: c.Path}) //nolint:gosec // 0 to 2
	}
	reply(w, all, err)
}

// commit makes an image of a container. A body is the configuration that counts more than the container's.
func (s *server) commit(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	o := engine.CommitOptions{
		Name: repoTag(q.Get("repo"), q.Get("tag")), Author: q.Get("author"), Comment: q.Get("comment"), Changes: q["changes"],
		Pause: q.Get("pause") == "" || flag(r, "pause"),
	}
	if r.ContentLength != 0 {
		config, ok := read[*dockerspec.DockerOCIImageConfig](w, r)
		if !ok {
			return
		}
		o.Config = config
	}
	made, err := s.e.Commit(r.Context(), q.Get("container"), o)
	if err != nil {
		failWith(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	answer(w, apicontainer.CommitResponse{ID: made.ID})
}

// repoTag joins what docker's clients send apart.
func repoTag(repo, tag string) string {
	if repo == "" || tag == "" {
		return repo
	}
	return repo + ":" + tag
}

// importImage makes an image of a root file system: of the request's body, or of what a URL leads to.
func (s *server) importImage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	o := engine.ImportOptions{Source: q.Get("fromSrc"), Name: repoTag(q.Get("repo"), q.Get("tag")), Message: q.Get("message"), Changes: q["changes"]}
	wanted, err := platformsOf(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if len(wanted) > 0 {
		o.Platform = &wanted[0]
	}
	out := newLines(w)
	from := r.Body
	if o.Source != "-" {
		if from, err = s.e.OpenURL(r.Context(), o.Source); err != nil {
			failWith(w, err)
			return
		}
		defer from.Close() //nolint:errcheck // reads only
		_ = out.send(message{Status: "Downloading from " + o.Source})
	}
	made, err := s.e.Import(r.Context(), from, o)
	if err != nil {
		answerEarly(w, r, func() { _ = out.send(errorMessage(err)) })
		return
	}
	_ = out.send(message{Status: made.ID})
}
