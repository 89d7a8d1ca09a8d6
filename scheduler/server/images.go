package server

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	apiimage "github.com/moby/moby/api/types/image"

	"tutti/runtime/image"
	"tutti/scheduler/journal"
)

func (s *server) imageRoutes(mux *http.ServeMux) {
	s.registryRoutes(mux)
	mux.HandleFunc("GET /images/json", s.listImages)
	mux.HandleFunc("POST /images/load", s.loadImages)
	mux.HandleFunc("POST /images/create", s.pullImage)
	mux.HandleFunc("POST /images/prune", s.pruneImages)
	mux.HandleFunc("GET /images/get", func(w http.ResponseWriter, r *http.Request) { s.saveImages(w, r, r.URL.Query()["names"]) })
	// The names of images hold slashes: what is asked for stands at the end.
	mux.HandleFunc("GET /images/", imageVerb(map[string]func(http.ResponseWriter, *http.Request, string){
		"json": s.inspectImage, "history": s.imageHistory,
		"get": func(w http.ResponseWriter, r *http.Request, name string) { s.saveImages(w, r, []string{name}) },
	}))
	mux.HandleFunc("POST /images/", imageVerb(map[string]func(http.ResponseWriter, *http.Request, string){
		"tag": s.tagImage, "push": s.pushImage,
	}))
	mux.HandleFunc("DELETE /images/", s.removeImage)
}

// imageVerb serves /images/NAME/VERB.
func imageVerb(verbs map[string]func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/images/")
		i := strings.LastIndexByte(path, '/')
		do, ok := verbs[path[i+1:]]
		if i < 0 || !ok {
			fail(w, http.StatusNotImplemented, errors.New(r.Method+" "+r.URL.Path+" is not supported yet"))
			return
		}
		do(w, r, path[:i])
	}
}

func (s *server) listImages(w http.ResponseWriter, r *http.Request) {
	filters, err := journal.ParseFilters(r.URL.Query().Get("filters"), image.FilterKeys...)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	l, err := s.e.ImagesFiltered(r.Context(), filters)
	if err != nil {
		failWith(w, err)
		return
	}
	users := s.e.ImageUsers()
	all := []apiimage.Summary{}
	for _, i := range l {
		all = append(all, imageSummary(i, users[i.ID]))
	}
	if flag(r, "shared-size") {
		if err := s.addShared(r, all); err != nil {
			failWith(w, err)
			return
		}
	}
	answer(w, all)
}

func imageSummary(i image.Image, users int) apiimage.Summary {
	return apiimage.Summary{
		ID: i.ID, ParentID: i.Parent(), RepoTags: orEmpty(i.Names), RepoDigests: orEmpty(i.RepoDigests), Created: i.Created.Unix(), Size: i.Size, SharedSize: -1,
		Labels: i.Config.Labels, Containers: int64(users),
	}
}

// addShared adds what images share.
func (s *server) addShared(r *http.Request, all []apiimage.Summary) error {
	usage, err := s.e.ImageUsage(r.Context())
	if err != nil {
		return err
	}
	for i := range all {
		for _, u := range usage.Images {
			if u.Image.ID == all[i].ID {
				all[i].SharedSize = u.Shared
			}
		}
	}
	return nil
}

// wantedImage is the image that a request is about, for the platform that it names. It answers for itself when there is none.
func (s *server) wantedImage(w http.ResponseWriter, r *http.Request, name string) (i image.Image, ok bool) {
	wanted, err := platformsOf(r)
	switch {
	case err != nil || len(wanted) > 1:
		fail(w, http.StatusBadRequest, cmp.Or(err, errors.New("give one platform")))
		return i, false
	case len(wanted) == 1:
		i, err = s.e.ImageFor(r.Context(), name, wanted[0])
	default:
		i, err = s.e.Image(r.Context(), name)
	}
	if err != nil {
		failWith(w, err)
		return i, false
	}
	return i, true
}

func (s *server) inspectImage(w http.ResponseWriter, r *http.Request, name string) {
	i, ok := s.wantedImage(w, r, name)
	if !ok {
		return
	}
	j := apiimage.InspectResponse{
		ID: i.ID, RepoTags: orEmpty(i.Names), RepoDigests: orEmpty(i.RepoDigests), Created: i.Created.Format(time.RFC3339Nano), Author: i.Author,
		Config: &i.Config, Architecture: i.Arch, Variant: i.Variant, Os: i.OS, Size: i.Size, RootFS: apiimage.RootFS{Type: "layers"},
	}
	if n := len(i.History); n > 0 {
		j.Comment = i.History[n-1].Comment
	}
	for _, l := range i.Layers {
		j.RootFS.Layers = append(j.RootFS.Layers, l.String())
	}
	answer(w, j)
}

// imageHistory answers docker's history: the newest step first. Steps without a layer have the size 0.
func (s *server) imageHistory(w http.ResponseWriter, r *http.Request, name string) {
	i, ok := s.wantedImage(w, r, name)
	if !ok {
		return
	}
	sizes, err := s.e.LayerSizes(r.Context(), i)
	if err != nil {
		failWith(w, err)
		return
	}
	all := []apiimage.HistoryResponseItem{}
	for n, h := range i.History {
		item := apiimage.HistoryResponseItem{ID: "<missing>", CreatedBy: h.CreatedBy, Comment: h.Comment}
		if h.Created != nil {
			item.Created = h.Created.Unix()
		}
		if !h.EmptyLayer && len(sizes) > 0 {
			item.Size, sizes = sizes[0], sizes[1:]
		}
		if n == len(i.History)-1 {
			item.ID, item.Tags = i.ID, i.Names
		}
		all = append([]apiimage.HistoryResponseItem{item}, all...)
	}
	answer(w, all)
}

func (s *server) tagImage(w http.ResponseWriter, r *http.Request, name string) {
	to := r.URL.Query().Get("repo")
	if tag := r.URL.Query().Get("tag"); tag != "" {
		to += ":" + tag
	}
	if err := s.e.TagImage(r.Context(), name, to); err != nil {
		failWith(w, err)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

func (s *server) removeImage(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("platforms") { // to remove all of them instead would be no answer
		fail(w, http.StatusNotImplemented, errors.New("the removal of one platform of an image is not supported yet"))
		return
	}
	l, err := s.e.RemoveImage(r.Context(), strings.TrimPrefix(r.URL.Path, "/images/"), image.RemoveOptions{Force: flag(r, "force"), NoPrune: flag(r, "noprune")})
	all := []apiimage.DeleteResponse{}
	for _, d := range l {
		all = append(all, apiimage.DeleteResponse{Untagged: d.Untagged, Deleted: d.Deleted})
	}
	reply(w, all, err)
}

func (s *server) loadImages(w http.ResponseWriter, r *http.Request) {
	out := newLines(w)
	w.Header().Set("Content-Type", "application/json") // docker's client reads no other as messages
	wanted, err := platformsOf(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	_, err = s.e.LoadImages(r.Context(), r.Body, image.LoadOptions{Platforms: wanted, Report: func(i image.Image) {
		text := "Loaded image ID: " + i.ID + "\n"
		if len(i.Names) > 0 {
			text = ""
			for _, n := range i.Names {
				text += "Loaded image: " + n + "\n"
			}
		}
		_ = out.send(message{Stream: text}) // a client that has gone does not undo the load
	}})
	if err != nil {
		answerEarly(w, r, func() { _ = out.send(errorMessage(err)) })
	}
}

// saveImages streams an archive. An image that is not there is told before anything is sent.
func (s *server) saveImages(w http.ResponseWriter, r *http.Request, names []string) {
	wanted, err := platformsOf(r)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	s.stream(w, func(out io.Writer) error {
		return s.e.SaveImages(r.Context(), out, image.SaveOptions{Refs: names, Platforms: wanted})
	})
}

// lateHeader sets the content's type with the first byte.
type lateHeader struct {
	http.ResponseWriter
	begun bool
}

func (l *lateHeader) Write(p []byte) (int, error) {
	if !l.begun {
		l.begun = true
		l.Header().Set("Content-Type", "application/x-tar")
	}
	return l.ResponseWriter.Write(p)
}

// pruneImages removes images that no container uses: those without a name or, with the filter dangling=false, all.
func (s *server) pruneImages(w http.ResponseWriter, r *http.Request) {
	filters, err := journal.ParseFilters(r.URL.Query().Get("filters"), "dangling", "until", "label", "label!")
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	removed, freed, err := s.e.PruneImages(r.Context(), filters)
	if err != nil {
		failWith(w, err)
		return
	}
	report := apiimage.PruneReport{ImagesDeleted: []apiimage.DeleteResponse{}, SpaceReclaimed: uint64(freed)}
	for _, d := range removed {
		report.ImagesDeleted = append(report.ImagesDeleted, apiimage.DeleteResponse{Untagged: d.Untagged, Deleted: d.Deleted})
	}
	answer(w, report)
}
