package imagebuild

import (
	"errors"
	"net/url"
	"strings"

	"tutti/runtime/build"
)

// Words of POST /build?version=2, as docker 20.10 to 22 send them (client/image_build.go, cli/command/image/build_buildkit.go).
const (
	fromSession    = "client-session" // remote: the context is read from the session
	fromUpload     = "upload-request" // remote: another request brings it
	uploadPrefix   = fromUpload + ":" // buildid of that other request
	versionClassic = "1"
	versionKit     = "2"
)

// IsSession tells whether the parameters are those of a build with BuildKit.
func IsSession(v url.Values) bool { return v.Get("version") == versionKit }

// Upload returns the build whose context the request's body is, if it is one.
func Upload(v url.Values) (id string, ok bool) {
	return strings.CutPrefix(v.Get("buildid"), uploadPrefix)
}

// Session reads the parameters of a build with BuildKit: what the client offers, its files first of all, comes with a
// session that it has opened before. uploaded tells that the context comes with another request, see Upload; otherwise, when
// the parameters name no context, it is this request's body.
func Session(v url.Values) (c build.ClientBuild, uploaded bool, err error) {
	q := params{v: v}
	c = build.ClientBuild{Request: q.request(nil), Session: v.Get("session")}
	switch c.Context {
	case fromSession:
		c.Context = ""
	case fromUpload:
		c.Context, uploaded = "-", true
	default:
		q.checkContext(c.Context)
	}
	q.refuse()
	if c.Session == "" {
		q.fail(errors.New("a build with version=2 needs a session"))
	}
	var outputs []struct {
		Type  string
		Attrs map[string]string
	}
	q.json("outputs", &outputs)
	for _, o := range outputs {
		c.Outputs = append(c.Outputs, build.Output{Type: o.Type, Attrs: o.Attrs})
	}
	return c, uploaded, q.err
}
