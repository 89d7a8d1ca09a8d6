package clients

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	controlapi "github.com/moby/buildkit/api/services/control"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
)

const (
	annas = "anna2345678901234567890"
	bobs  = "bob12345678901234567890"
)

func opened(t *testing.T, s *sessions, id, key string, uid uint32) http.Header {
	t.Helper()
	h, _, err := s.begin(http.Header{headerID: {id}, headerSharedKey: {key}}, uid)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A session is used by its own user's builds alone, wherever it is named, and the copies of contexts are not shared.
func TestSessionsAreApart(t *testing.T) {
	t.Parallel()
	s := &sessions{}
	a, b := opened(t, s, annas, "key", 1000), opened(t, s, bobs, "key", 1001)
	if a.Get(headerSharedKey) == b.Get(headerSharedKey) || !strings.HasSuffix(a.Get(headerSharedKey), "key") {
		t.Errorf("shared keys: %v and %v", a, b)
	}
	step, err := (&pb.Op{Op: &pb.Op_Source{Source: &pb.SourceOp{Identifier: "local://context", Attrs: map[string]string{"local.session": bobs}}}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]any{
		"session":      &controlapi.SolveRequest{Session: bobs},
		"policy":       &controlapi.SolveRequest{SourcePolicySession: bobs},
		"attribute":    &controlapi.SolveRequest{FrontendAttrs: map[string]string{"local-sessionid:context": bobs}},
		"step":         &controlapi.SolveRequest{Definition: &pb.Definition{Def: [][]byte{step}}},
		"input":        &controlapi.SolveRequest{FrontendInputs: map[string]*pb.Definition{"x": {Def: [][]byte{step}}}},
		"cache":        &controlapi.SolveRequest{Cache: &controlapi.CacheOptions{Imports: []*controlapi.CacheOptionsEntry{{Attrs: map[string]string{"session": bobs}}}}},
		"gateway":      &gateway.SolveRequest{Definition: &pb.Definition{Def: [][]byte{step}}},
		"gateway attr": &gateway.SolveRequest{FrontendOpt: map[string]string{"local-sessionid:dockerfile": bobs}},
		"resolve":      &gateway.ResolveImageConfigRequest{SessionID: bobs},
	} {
		if err := s.check(1000, m); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.check(1001, m); err != nil {
			t.Errorf("%s of one's own: %v", name, err)
		}
	}
	if _, _, err := s.begin(http.Header{headerID: {annas}}, 1001); err == nil {
		t.Error("another has taken the name of a session that is open")
	}
	if _, _, err := s.begin(http.Header{headerID: {"short"}}, 1000); err == nil {
		t.Error("a name that can be guessed was taken")
	}
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	here := func(names []string) error {
		if slices.Contains(names, "linux/other") {
			return errors.New("not here")
		}
		return nil
	}
	moby := func(attrs ...string) []*controlapi.Exporter {
		e := &controlapi.Exporter{Type: ExporterMoby, Attrs: map[string]string{}}
		for i := 0; i < len(attrs); i += 2 {
			e.Attrs[attrs[i]] = attrs[i+1]
		}
		return []*controlapi.Exporter{e}
	}
	for _, c := range []struct {
		q     *controlapi.SolveRequest
		names string
		err   string
	}{
		{q: &controlapi.SolveRequest{}},
		{q: &controlapi.SolveRequest{Exporters: moby("name", "a,docker.io/library/a:latest,b:1")}, names: "docker.io/library/a:latest docker.io/library/b:1"},
		{q: &controlapi.SolveRequest{ExporterDeprecated: "image", ExporterAttrsDeprecated: map[string]string{"name": "old"}}, names: "docker.io/library/old:latest"},
		{q: &controlapi.SolveRequest{Exporters: moby("name", "Not")}, err: "invalid tag"},
		{q: &controlapi.SolveRequest{Exporters: moby("name", "a@sha256:"+strings.Repeat("0", 64))}, err: "cannot contain a digest"},
		{q: &controlapi.SolveRequest{Exporters: moby("push", "true")}, err: "tag is needed"},
		{q: &controlapi.SolveRequest{Exporters: moby("push", "maybe", "name", "a")}, err: "non-bool value specified for push"},
		{q: &controlapi.SolveRequest{Exporters: []*controlapi.Exporter{{Type: "nothing"}}}, err: `exporter "nothing" could not be found`},
		{q: &controlapi.SolveRequest{Cache: &controlapi.CacheOptions{Exports: []*controlapi.CacheOptionsEntry{{Type: "s3"}}}}, err: `unknown cache exporter: "s3"`},
		{q: &controlapi.SolveRequest{Entitlements: []string{"network.host"}}},
		{q: &controlapi.SolveRequest{Entitlements: []string{"security.insecure"}}, err: "granting entitlement security.insecure is not allowed"},
		{q: &controlapi.SolveRequest{Entitlements: []string{"device=vendor.com/x"}}, err: "granting entitlement device=vendor.com/x is not allowed"},
		{q: &controlapi.SolveRequest{FrontendAttrs: map[string]string{"platform": "linux/here,linux/other"}}, err: "not here"},
		{q: &controlapi.SolveRequest{FrontendAttrs: map[string]string{"cgroup-parent": "/"}}, err: "cgroup-parent"},
	} {
		names, err := prepare(c.q, here)
		switch {
		case c.err == "" && err != nil, c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%v: %v", c.q, err)
		case strings.Join(names, " ") != c.names:
			t.Errorf("%v: names %v", c.q, names)
		}
	}
	for given, kept := range map[string]bool{"mode=min,inline-only=true": false, "mode=max": true, "": true} {
		q := &controlapi.SolveRequest{FrontendAttrs: map[string]string{attrProvenance: given}}
		if _, err := prepare(q, here); err != nil {
			t.Fatal(err)
		}
		if _, has := q.FrontendAttrs[attrProvenance]; has != kept {
			t.Errorf("provenance %q is kept: %v", given, has)
		}
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		given map[string]string
		push  bool
		want  string
	}{
		{map[string]string{}, false, "uncompressed "},
		{map[string]string{}, true, "gzip true"},
		{map[string]string{"compression": "zstd"}, true, "zstd "},
		{map[string]string{"compression": "gzip", "force-compression": "false"}, false, "gzip false"},
	} {
		compress(c.given, c.push)
		if got := c.given["compression"] + " " + c.given["force-compression"]; got != c.want {
			t.Errorf("%v: %q", c, got)
		}
	}
}

// Who follows a build sees the image's names; that of a build which is over, or which is refused, nobody waits for.
func TestShown(t *testing.T) {
	t.Parallel()
	s := newShown(t.Context(), "tutti-dangling")
	m := &controlapi.StatusResponse{Statuses: []*controlapi.VertexStatus{{ID: "naming to tutti-dangling@sha256:1"}, {ID: "other"}}}
	ids := func(b *named) (list string) {
		for _, v := range s.present(b, m).Statuses {
			list += v.ID + "\n"
		}
		return list
	}
	b, release := s.hold("one")
	if got := ids(b); got != "naming to image\nother\n" {
		t.Errorf("without names: %q", got)
	}
	s.begin(b, []string{"a:1", "b:2"})
	if got := ids(b); got != "naming to a:1\nnaming to b:2\nother\n" {
		t.Errorf("with names: %q", got)
	}
	release()
	for i := range 2 * maxLate {
		b, release := s.hold(fmt.Sprint("refused", i))
		s.refuse(b, errors.New("no such platform"))
		release()
	}
	last, release := s.hold(fmt.Sprint("refused", 2*maxLate-1))
	if last.going.Err() == nil {
		t.Error("who comes late is not told that the build was refused")
	}
	s.begin(last, nil)
	if last.going.Err() != nil {
		t.Error("another build of that name is refused, too")
	}
	release()
	if len(s.builds) > maxLate || len(s.late) > maxLate {
		t.Errorf("%d builds are remembered, %d late", len(s.builds), len(s.late))
	}
}

// A build that begins under the name of one that was refused is known until it has ended, and then nothing is kept of it.
func TestShownBeginsAgain(t *testing.T) {
	t.Parallel()
	s := newShown(t.Context(), "dangling")
	b, release := s.hold("one")
	s.refuse(b, errors.New("no such platform"))
	release()
	if b, release := s.hold("one"); s.going(b).Err() == nil {
		t.Error("who asks later for a build that was refused is not told")
	} else {
		release()
	}
	b, release = s.hold("one")
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() { // meanwhile, as those who follow it
			b, release := s.hold("one")
			defer release()
			_ = s.going(b)
		})
	}
	s.begin(b, []string{"name"})
	asking.Wait()
	going := s.going(b)
	if going.Err() != nil {
		t.Error("the build that has begun is taken for refused")
	}
	release()
	if len(s.builds) != 0 || len(s.late) != 0 || going.Err() == nil {
		t.Errorf("%d builds and %d refused ones are kept, context %v", len(s.builds), len(s.late), going.Err())
	}
}

// Calls of a build that is refused, come they before or after that, say what the build itself says: clients show what they hear
// first.
func TestRefusedCalls(t *testing.T) {
	t.Parallel()
	s := &Server{shown: newShown(t.Context(), "dangling")}
	why := errors.New("no such platform")
	waits := func(ctx context.Context, _ any) (any, error) {
		<-ctx.Done()
		return nil, errors.New("no such job")
	}
	build, release := s.shown.hold("one")
	defer release()
	early := make(chan error, 1)
	go func() {
		_, err := s.during(t.Context(), s.shown.going(build), nil, waits)
		early <- err
	}()
	s.shown.refuse(build, why)
	if err := <-early; !errors.Is(err, why) {
		t.Errorf("a call that waits for the build: %v", err)
	}
	if _, err := s.during(t.Context(), s.shown.going(build), nil, waits); !errors.Is(err, why) {
		t.Errorf("a call that comes late: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	other, release := s.shown.hold("two")
	defer release()
	if _, err := s.during(gone, s.shown.going(other), nil, waits); err == nil || errors.Is(err, why) {
		t.Errorf("a call whose client has gone: %v", err)
	}
}
