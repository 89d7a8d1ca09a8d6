package build

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
)

// inputs is everything from outside that one build has asked for. The frontend gets at it through one interface only, the
// bridge to the solver, which watch stands in front of.
type inputs struct {
	image func(ctx context.Context, name string) digest.Digest // what a name of the store means now; "": nothing

	mu      sync.Mutex
	folders []folderInput
	images  map[string]digest.Digest // by the name in the store
	foreign bool                     // something that can change without being noticed here: a URL, a registry
}

// folderInput is a folder of the request as BuildKit asks for it.
type folderInput struct {
	name   string
	filter fsutil.FilterOpt
	whole  bool // files are read whatever their metadata say
}

// inputsBySession finds the inputs of the build that a session belongs to.
type inputsBySession struct{ all sync.Map }

func (i *inputsBySession) begin(session string, in *inputs) (end func()) {
	i.all.Store(session, in)
	return func() { i.all.Delete(session) }
}

// watched is a frontend that tells what it asks for.
type watched struct {
	frontend.Frontend
	builds *inputsBySession
}

func (w watched) Solve(ctx context.Context, bridge frontend.FrontendLLBBridge, exec executor.Executor, opt map[string]string, in map[string]*pb.Definition, sid string, sm *session.Manager) (*frontend.Result, error) {
	if found, ok := w.builds.all.Load(sid); ok {
		bridge = watchedBridge{bridge, found.(*inputs)}
	}
	return w.Frontend.Solve(ctx, bridge, exec, opt, in, sid, sm)
}

type watchedBridge struct {
	frontend.FrontendLLBBridge
	inputs *inputs
}

// Solve enters the sources of the steps that are to be done.
func (b watchedBridge) Solve(ctx context.Context, r frontend.SolveRequest, sid string) (*frontend.Result, error) {
	b.inputs.define(ctx, r.Definition)
	for _, d := range r.FrontendInputs {
		b.inputs.define(ctx, d)
	}
	if len(r.CacheImports) > 0 {
		b.inputs.change()
	}
	return b.FrontendLLBBridge.Solve(ctx, r, sid)
}

// ResolveSourceMetadata enters what a name was found to mean.
func (b watchedBridge) ResolveSourceMetadata(ctx context.Context, op *pb.SourceOp, opt sourceresolver.Opt) (*sourceresolver.MetaResponse, error) {
	asked := op.Identifier
	b.inputs.source(ctx, op)
	answer, err := b.FrontendLLBBridge.ResolveSourceMetadata(ctx, op, opt)
	if err != nil || answer.Image == nil || opt.ImageOpt == nil || opt.ImageOpt.ResolveMode != pb.AttrImageResolveModePreferLocal {
		b.inputs.change()
		return answer, err
	}
	b.inputs.resolved(asked, answer.Image.Digest)
	return answer, nil
}

// define enters the sources of steps.
func (i *inputs) define(ctx context.Context, d *pb.Definition) {
	if d == nil {
		return
	}
	for _, text := range d.Def {
		var op pb.Op
		if err := op.UnmarshalVT(text); err != nil {
			i.change()
			return
		}
		if s := op.GetSource(); s != nil {
			i.source(ctx, s)
		}
		if op.GetBuild() != nil {
			i.change() // steps within steps
		}
	}
}

// source enters one source: a folder or an image. What else there is can change unnoticed.
func (i *inputs) source(ctx context.Context, s *pb.SourceOp) {
	scheme, name, _ := strings.Cut(s.Identifier, "://")
	switch scheme {
	case "local":
		f, ok := newFolderInput(name, s.Attrs)
		i.mu.Lock()
		defer i.mu.Unlock()
		i.foreign = i.foreign || !ok
		if !slices.ContainsFunc(i.folders, func(o folderInput) bool { return reflect.DeepEqual(o, f) }) {
			i.folders = append(i.folders, f)
		}
	case "docker-image":
		if stored, pinned := storedName(name); !pinned {
			i.found(stored, i.image(ctx, stored))
		}
	default:
		i.change()
	}
}

// resolved compares what BuildKit has found under a name with what was in the store before.
func (i *inputs) resolved(identifier string, d digest.Digest) {
	stored, pinned := storedName(strings.TrimPrefix(identifier, imageScheme))
	if !pinned {
		i.found(stored, d)
	}
}

// storedName is the name of an image in the store, as BuildKit looks for it. An image that is named by its digest cannot
// become another one.
func storedName(ref string) (name string, pinned bool) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref, false
	}
	if _, ok := named.(reference.Canonical); ok {
		return named.String(), true
	}
	return reference.TagNameOnly(named).String(), false
}

// found enters what a name means. It cannot mean two things, and what is not in the store is a registry's.
func (i *inputs) found(name string, d digest.Digest) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if old, ok := i.images[name]; d == "" || ok && old != d {
		i.foreign = true
	}
	if i.images == nil {
		i.images = map[string]digest.Digest{}
	}
	i.images[name] = d
}

// change says that something can change unnoticed.
func (i *inputs) change() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.foreign = true
}

// list returns what was asked for; ok is false when it can change unnoticed.
func (i *inputs) list() (folders []folderInput, images map[string]digest.Digest, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.folders), maps.Clone(i.images), !i.foreign
}

// newFolderInput reads the attributes of a source "local://", see BuildKit's source/local/source.go.
func newFolderInput(name string, attrs map[string]string) (folderInput, bool) {
	f := folderInput{name: name}
	for key, value := range attrs {
		var err error
		switch key {
		case pb.AttrIncludePatterns:
			err = json.Unmarshal([]byte(value), &f.filter.IncludePatterns)
		case pb.AttrExcludePatterns:
			err = json.Unmarshal([]byte(value), &f.filter.ExcludePatterns)
		case pb.AttrFollowPaths:
			err = json.Unmarshal([]byte(value), &f.filter.FollowPaths)
		case pb.AttrLocalDiffer:
			f.whole = value == pb.AttrLocalDifferNone
		case pb.AttrLocalSessionID, pb.AttrLocalUniqueID, pb.AttrSharedKeyHint:
		default:
			return f, false
		}
		if err != nil {
			return f, false
		}
	}
	return f, true
}
