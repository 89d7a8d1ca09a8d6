package build

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
)

// A build of which nothing has changed is answered without BuildKit, which would take most of the time to find that out.
// What it depends on is not guessed but seen: the request, the folders as they were told to BuildKit (folder.go), and what
// the frontend asked the solver for (inputs.go). The next build of the same request looks at the same folders in the same
// way and asks the store for the same images. The answer is that of BuildKit, with what it showed when every step came from
// the cache. Whatever is not understood goes to BuildKit: URLs, registries, caches that are read or written, attestations.

const (
	// repeatTime is how long builds are answered without BuildKit: it must hear of those that are used, for it removes
	// from its cache what is not.
	repeatTime = time.Hour
	maxRepeats = 128

	imageScheme = "docker-image://"
)

// repeats are the builds that can be answered, by their requests.
type repeats struct {
	racy time.Duration // racyTime, but in tests

	mu    sync.Mutex
	known map[digest.Digest]*finished
	epoch int // of the cache: records of an earlier one are gone
}

// finished is a build as it ended.
type finished struct {
	result  Result
	shown   transcript
	folders []folderInput
	told    map[string]sightings // by the folder's name
	images  map[string]digest.Digest
	names   []string
	at      time.Time
}

// again is the result for another caller.
func (f *finished) again() Result {
	return Result{Image: f.result.Image, Metadata: maps.Clone(f.result.Metadata)}
}

// forget says that BuildKit's cache has lost something: what was built from it has to be built again.
func (r *repeats) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = nil
	r.epoch++
}

func (r *repeats) find(key digest.Digest) (f *finished, epoch int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[key], r.epoch
}

// keep enters a build that began in an epoch.
func (r *repeats) keep(key digest.Digest, f *finished, epoch int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if epoch != r.epoch {
		return
	}
	if r.known == nil {
		r.known = map[digest.Digest]*finished{}
	}
	r.known[key] = f
	if len(r.known) > maxRepeats {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(r.known)), func(a, b digest.Digest) int { return r.known[a].at.Compare(r.known[b].at) })
		delete(r.known, oldest)
	}
}

// drop takes a build out that is no longer as it was.
func (r *repeats) drop(key digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, key)
}

// repeatKey names a request whose result can be known without BuildKit; ok is false for others.
func repeatKey(r Request) (key digest.Digest, ok bool) {
	if r.Context == "-" || IsRemote(r.Context) || r.NoCache || r.Pull || len(r.NoCacheFilter) > 0 || len(r.Outputs) > 0 ||
		len(r.CacheFrom) > 0 || len(r.CacheTo) > 0 || isWanted(r.Provenance) || isWanted(r.SBOM) {
		return "", false
	}
	for _, source := range r.AdditionalContexts {
		if IsRemote(source) && !strings.HasPrefix(source, imageScheme) {
			return "", false
		}
	}
	r.Secrets = slices.Clone(r.Secrets)
	for i, s := range r.Secrets { // what a secret is does not count, that there is one does
		r.Secrets[i] = Secret{ID: s.ID}
	}
	r.SSH = slices.Clone(r.SSH)
	for i, s := range r.SSH {
		r.SSH[i] = SSH{ID: s.ID}
	}
	text, err := json.Marshal(r)
	return digest.FromBytes(text), err == nil
}

// attempt is a build that may turn out to be a repetition.
type attempt struct {
	b       *Builder
	key     digest.Digest
	epoch   int
	names   []string
	folders map[string]*watchedFolder
	inputs  *inputs
	shown   *transcript // of this build
}

// attempt begins a build; nil when it cannot be a repetition.
func (b *Builder) attempt(r Request, solve *client.SolveOpt) *attempt {
	key, ok := repeatKey(r)
	if !ok || len(solve.OCIStores) > 0 {
		return nil
	}
	a := &attempt{b: b, key: key, names: fullNames(r), folders: map[string]*watchedFolder{}, inputs: &inputs{image: b.target}, shown: &transcript{}}
	for name, source := range solve.LocalMounts {
		if f, ok := source.(*watchedFolder); ok { // others are texts of the request
			a.folders[name] = f
		}
	}
	return a
}

// target is what a name means in the store; "" when it means nothing.
func (b *Builder) target(ctx context.Context, name string) digest.Digest {
	found, err := b.backend.Images.Get(ctx, name)
	if err != nil {
		return ""
	}
	return found.Target.Digest
}

// answer returns the result when the same was built before, and nothing has changed.
func (a *attempt) answer(ctx context.Context) (*finished, bool) {
	if a == nil {
		return nil, false
	}
	f, epoch := a.b.repeats.find(a.key)
	a.epoch = epoch
	if f == nil {
		return nil, false
	}
	if time.Since(f.at) > repeatTime || !a.same(ctx, f) {
		a.b.repeats.drop(a.key)
		return nil, false
	}
	return f, true
}

// same tells whether everything is as it was for f.
func (a *attempt) same(ctx context.Context, f *finished) bool {
	for name, d := range f.images {
		if a.b.target(ctx, name) != d {
			return false
		}
	}
	for _, name := range f.names {
		if a.b.target(ctx, name) != f.result.Digest {
			return false
		}
	}
	stored, err := a.b.store.Get(ctx, f.result.ID)
	if err != nil || stored.Digest != f.result.Digest {
		return false
	}
	if _, err := a.b.store.Lower(ctx, stored); err != nil {
		return false
	}
	return a.sameFolders(ctx, f)
}

// sameFolders looks at the folders as BuildKit did.
func (a *attempt) sameFolders(ctx context.Context, f *finished) bool {
	now := map[string]*watchedFolder{}
	for name, dir := range a.folders {
		now[name] = dir.again()
	}
	for _, in := range f.folders {
		dir, ok := now[in.name]
		if !ok {
			continue // the text of a Dockerfile, which is in the request
		}
		texts, err := look(ctx, dir, in)
		if err != nil {
			return false
		}
		for _, name := range texts {
			if text, ok := f.told[in.name].texts[name]; !ok || dir.told().texts[name] != text {
				return false
			}
		}
	}
	for name, dir := range now {
		if seen := dir.told(); seen.odd || !slices.Equal(seen.walks, f.told[name].walks) {
			return false
		}
	}
	return true
}

// look asks a folder for what BuildKit asks it for (fsutil's Send), and returns the names of the files that it read in any
// case.
func look(ctx context.Context, dir *watchedFolder, in folderInput) (texts []string, err error) {
	filtered, err := fsutil.NewFilterFS(dir, &in.filter)
	if err != nil {
		return nil, err
	}
	err = filtered.Walk(ctx, "/", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil || !in.whole || !info.Mode().IsRegular() {
			return err
		}
		texts = append(texts, path)
		return readAll(dir, path)
	})
	return texts, err
}

func readAll(dir *watchedFolder, path string) error {
	file, err := dir.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(io.Discard, file)
	return err
}

// keep remembers a build that BuildKit has done, unless it was not from the cache alone, or something it depends on can
// change unnoticed.
func (a *attempt) keep(ctx context.Context, result Result) {
	if a == nil {
		return
	}
	folders, images, ok := a.inputs.list()
	if !ok || !a.shown.allCached() || result.Metadata[exptypes.ExporterImageDigestKey] != string(result.Digest) {
		return
	}
	f := &finished{
		result: result, shown: *a.shown, folders: folders, told: map[string]sightings{}, images: images, names: a.names, at: time.Now(),
	}
	for name, dir := range a.folders {
		seen := dir.told()
		if seen.odd || seen.age < a.b.repeats.racy {
			return
		}
		f.told[name] = seen
	}
	for name, d := range images {
		if a.b.target(ctx, name) != d {
			return // moved meanwhile
		}
	}
	a.b.repeats.keep(a.key, f, a.epoch)
}
