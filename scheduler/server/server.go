// Package server is the engine's socket: project verbs under api.Prefix, and beside them the Docker Engine API for what
// docker calls objects (containers, images, networks, volumes), so that docker's own clients work, too.
package server

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	goruntime "runtime"
	"strconv"
	"strings"

	"tutti/runtime/image"
	"tutti/scheduler"
	"tutti/scheduler/api"
	"tutti/scheduler/engine"
	"tutti/volumes"
)

// The Docker Engine API that is spoken (https://docs.docker.com/reference/api/engine/).
const (
	apiVersion    = "1.51"
	minAPIVersion = "1.24"
)

// maxBody bounds a request's JSON: a model with inline files can be large, but not endless.
const maxBody = 64 << 20

// Build describes the binary, for /version.
type Build struct {
	Version string
	ID      string // tells this program from every other, also of the same version
}

// server answers requests with the engine.
type server struct {
	e      *scheduler.Scheduler
	build  Build
	builds buildJobs
}

// New returns the handler of the engine's socket.
func New(e *scheduler.Scheduler, b Build) http.Handler {
	s := &server{e: e, build: b}
	mux := http.NewServeMux()
	s.projectRoutes(mux)
	s.systemRoutes(mux)
	s.execRoutes(mux)
	s.sessionRoutes(mux)
	s.attachRoutes(mux)
	s.objectRoutes(mux)
	s.imageRoutes(mux)
	s.buildRoutes(mux)
	s.buildkitRoutes(mux)
	s.usageRoutes(mux)
	s.networkRoutes(mux)
	s.containerRoutes(mux)
	s.archiveRoutes(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotImplemented, errors.New(r.Method+" "+r.URL.Path+" is not supported yet"))
	})
	return dropVersion(mux)
}

var versioned = regexp.MustCompile(`^/v[0-9]+\.[0-9]+/`)

// dropVersion lets docker's clients put the version of the API in front of every path.
func dropVersion(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := versioned.FindString(r.URL.Path); v != "" {
			r.URL.Path = r.URL.Path[len(v)-1:]
			r.URL.RawPath = ""
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) systemRoutes(mux *http.ServeMux) {
	ping := func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Api-Version", apiVersion)
		h.Set("Builder-Version", "2")
		h.Set("Docker-Experimental", "false")
		h.Set("Ostype", "linux")
		h.Set(api.BuildHeader, s.build.ID)
		h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
		_, _ = io.WriteString(w, "OK")
	}
	mux.HandleFunc("GET /_ping", ping)
	mux.HandleFunc("HEAD /_ping", ping)
	mux.HandleFunc("POST "+api.Prefix+"/replace", s.replace)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"Version": s.build.Version, "ApiVersion": apiVersion, "MinAPIVersion": minAPIVersion,
			"GoVersion": goruntime.Version(), "Os": "linux", "Arch": goruntime.GOARCH, "Platform": map[string]string{"Name": "tutti"},
		})
	})
	mux.HandleFunc("GET "+api.Prefix+"/version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, api.VersionInfo{Version: s.build.Version, GoVersion: goruntime.Version(), Pid: os.Getpid(), Root: s.e.Root()})
	})
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client has gone: nobody to tell
}

// fail writes an error as docker does. The answer has a length: a client must be able to tell where it ends while the
// request goes on.
func fail(w http.ResponseWriter, code int, err error) {
	body, _ := json.Marshal(map[string]string{"message": err.Error()}) // never fails
	body = append(body, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client has gone: nobody to tell
}

// failWith chooses the status from the error.
func failWith(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	switch {
	case errors.Is(err, engine.ErrNoSuch), errors.Is(err, image.ErrNotFound), errors.Is(err, volumes.ErrNotFound):
		code = http.StatusNotFound
	case errors.Is(err, engine.ErrConflict), errors.Is(err, image.ErrInUse):
		code = http.StatusConflict
	case errors.Is(err, engine.ErrInvalid), errors.Is(err, image.ErrTooLarge), errors.Is(err, image.ErrFilter):
		code = http.StatusBadRequest
	case errors.Is(err, engine.ErrForbidden):
		code = http.StatusForbidden
	}
	fail(w, code, bare{err})
}

// bare is an error without the word for its kind, which the status of the answer says.
type bare struct{ error }

func (b bare) Error() string {
	text := b.error.Error()
	for _, kind := range []error{engine.ErrConflict, engine.ErrForbidden, engine.ErrInvalid} {
		text = strings.TrimPrefix(text, kind.Error()+": ")
	}
	return text
}

// read decodes a request's JSON body. It answers for itself when that fails.
func read[T any](w http.ResponseWriter, r *http.Request) (v T, ok bool) {
	return readUpTo[T](w, r, maxBody)
}

// readUpTo is read for a body of at most so many bytes.
func readUpTo[T any](w http.ResponseWriter, r *http.Request, limit int64) (v T, ok bool) {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit)).Decode(&v); err != nil {
		// Who still sends would be told of a broken connection, and not what is wrong.
		_, _ = io.CopyN(io.Discard, r.Body, maxBody)
		fail(w, http.StatusBadRequest, errors.New("the request's body: "+err.Error()))
		return v, false
	}
	// net/http notices that the client has gone only behind the end of the body.
	_, err := io.Copy(io.Discard, r.Body)
	return v, err == nil
}

// flag reads a boolean query parameter as docker does.
func flag(r *http.Request, name string) bool {
	v := r.URL.Query().Get(name)
	b, err := strconv.ParseBool(v)
	return v != "" && (err != nil || b)
}
