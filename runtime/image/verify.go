package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// Verify looks at everything in the store: each blob is read and its digest and size compared, the databases with one
// another and with the files. It changes nothing and may be called at any time; operations that go on are not taken for
// faults. needed tells whether a container needs an image, by ID.
//
// What is inside of unpacked layers is not compared with their content.
func (s *Store) Verify(ctx context.Context, needed func(id string) bool) ([]Fault, error) {
	s.sweeping.Lock() // what a collection removes is in turn gone from one place and not yet from another
	defer s.sweeping.Unlock()
	ctx = scope(ctx)
	v := &verification{s: s, needed: needed, lost: map[digest.Digest]string{}}
	steps := []func(context.Context) error{v.blobs, v.images, v.layers, v.leases}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return v.faults, fmt.Errorf("verify the image store: %w", err)
		}
	}
	for _, more := range []func(context.Context) ([]Fault, error){s.unknownContent, s.unknownLayers} {
		faults, err := more(ctx)
		if err != nil {
			return v.faults, fmt.Errorf("verify the image store: %w", err)
		}
		v.faults = append(v.faults, faults...)
	}
	return v.faults, nil
}

// verification is one Verify.
type verification struct {
	s      *Store
	needed func(id string) bool
	faults []Fault
	lost   map[digest.Digest]string // blobs that cannot be used, and why
}

// blobs reads all content.
func (v *verification) blobs(ctx context.Context) error {
	var records []content.Info
	err := v.s.content.Walk(ctx, func(i content.Info) error {
		records = append(records, i)
		return nil
	})
	if err != nil {
		return fmt.Errorf("list the content: %w", err)
	}
	for _, r := range records {
		problem, err := v.s.checkBlob(ctx, r)
		if err != nil {
			return err
		}
		if problem == "" {
			continue
		}
		if _, err := v.s.content.Info(ctx, r.Digest); errdefs.IsNotFound(err) {
			continue // removed meanwhile
		}
		v.lost[r.Digest] = problem
	}
	if len(v.lost) == 0 {
		return nil
	}
	users, err := v.users(ctx)
	if err != nil {
		return err
	}
	for d, problem := range v.lost {
		v.faults = append(v.faults, v.lostBlob(d, problem, users[d]))
	}
	return nil
}

// checkBlob says what is wrong with a blob, or nothing.
func (s *Store) checkBlob(ctx context.Context, r content.Info) (string, error) {
	f, err := os.Open(s.blobPath(r.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return "content is missing", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	if st.Size() != r.Size {
		return fmt.Sprintf("content has %d bytes of %d", st.Size(), r.Size), nil
	}
	verifier := r.Digest.Verifier()
	if _, err := io.CopyBuffer(verifier, contextReader{ctx, f}, make([]byte, 256<<10)); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "content cannot be read: " + err.Error(), nil
	}
	if !verifier.Verified() {
		return "content is not what its digest says", nil
	}
	return "", nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context //nolint:containedctx // of one copy
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// users are the images of each blob. An image whose manifest or configuration is lost is known from memory, if at all.
func (v *verification) users(ctx context.Context) (map[digest.Digest][]Image, error) {
	list, err := v.s.List(ctx)
	if err != nil {
		return nil, err
	}
	users := map[digest.Digest][]Image{}
	for _, image := range list {
		blobs, _ := v.s.blobsOf(ctx, image) // of a manifest that is lost itself the layers are not known
		for _, d := range blobs {
			users[d] = append(users[d], image)
		}
	}
	return users, nil
}

func (v *verification) lostBlob(d digest.Digest, problem string, users []Image) Fault {
	f := Fault{Kind: FaultBlob, Object: d.String(), Problem: problem, Remedy: "forget it", Repair: func(ctx context.Context) error {
		return v.s.dropBlob(ctx, d, users, v.needed)
	}}
	names := namesOf(users)
	if len(names) > 0 {
		f.Problem += ": " + strings.Join(names, ", ")
		f.Hint = remake(users)
	}
	return f
}

// namesOf are what people call images.
func namesOf(users []Image) (names []string) {
	for _, image := range users {
		if len(image.Names) == 0 {
			names = append(names, short(image.ID))
		}
		names = append(names, image.Names...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// remake says how images are made whole again.
func remake(users []Image) string {
	var pulls, others []string
	for _, image := range users {
		for _, name := range namesOf([]Image{image}) {
			if len(image.RepoDigests) > 0 {
				pulls = append(pulls, "tutti image pull "+name)
			} else {
				others = append(others, name)
			}
		}
	}
	hint := strings.Join(pulls, "; ")
	if len(others) > 0 {
		if hint != "" {
			hint += "; "
		}
		hint += "build or load " + strings.Join(others, ", ") + " again"
	}
	return hint
}

// dropBlob forgets a blob that cannot be used, so that it can be fetched anew. Layers that containers have stay: without
// the blob nothing else would hold them.
func (s *Store) dropBlob(ctx context.Context, d digest.Digest, users []Image, needed func(string) bool) error {
	ctx = scope(ctx)
	for _, image := range users {
		leads := d.String() == image.ID || d == image.manifest.Digest || d == image.target.Digest // to the layers
		if !leads || len(image.Layers) == 0 || needed == nil || !needed(image.ID) {
			continue
		}
		if err := s.keepLayers(ctx, image); err != nil {
			return fmt.Errorf("keep the layers of %s: %w", image.ID, err)
		}
	}
	if err := s.content.Delete(ctx, d); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	s.catalog.forget()
	return s.dropUnknownBlob(d)
}

// keepLayers holds an image's layers whatever becomes of its content.
func (s *Store) keepLayers(ctx context.Context, image Image) error {
	l := keepLease(image.ID)
	if _, err := s.leases.Create(ctx, leases.WithID(l.ID)); err != nil && !errdefs.IsAlreadyExists(err) {
		return err
	}
	err := s.leases.AddResource(ctx, l, leases.Resource{ID: image.chainID(), Type: "snapshots/" + snapshotterName})
	if errdefs.IsNotFound(err) || errdefs.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// images looks whether everything is there that names stand for.
func (v *verification) images(ctx context.Context) error {
	records, err := v.s.records.List(ctx)
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	for _, record := range records {
		image, err := v.s.describe(ctx, record)
		var missing []digest.Digest
		if err == nil {
			missing, err = v.missing(ctx, image)
		}
		if err == nil && len(missing) == 0 {
			continue
		}
		if _, gone := v.s.records.Get(ctx, record.Name); errdefs.IsNotFound(gone) || ctx.Err() != nil {
			continue // removed meanwhile
		}
		v.faults = append(v.faults, v.incomplete(record, image, missing, err))
	}
	return ctx.Err()
}

// missing are blobs of an image that have no record. Those with one are looked at before.
func (v *verification) missing(ctx context.Context, image Image) (missing []digest.Digest, err error) {
	blobs, err := v.s.blobsOf(ctx, image)
	if err != nil {
		return nil, err
	}
	for _, d := range blobs {
		if _, err := v.s.content.Info(ctx, d); errdefs.IsNotFound(err) {
			missing = append(missing, d)
		} else if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// incomplete is the fault of a name whose image cannot be used, or not be given away.
func (v *verification) incomplete(record images.Image, image Image, missing []digest.Digest, err error) Fault {
	name := Familiar(record.Name)
	f := Fault{Kind: FaultImage, Object: name, Hint: "build, load or pull " + name + " again"}
	if record.Labels[labelPulled] != "" {
		f.Hint = "tutti image pull " + name
	}
	if err == nil { // it runs, but cannot be pushed or saved
		f.Problem = fmt.Sprintf("image lacks %d of its compressed layers, the first is %s: containers start, push and save fail", len(missing), missing[0])
		f.Remedy = "none: its containers need it"
		if v.needed == nil || !v.needed(image.ID) {
			f.Remedy = "remove the name"
			f.Repair = func(ctx context.Context) error { return v.s.records.Delete(ctx, record.Name) }
		}
		return f
	}
	f.Problem = "image cannot be used: " + err.Error()
	f.Remedy = "remove the name"
	f.Repair = func(ctx context.Context) error { return v.s.records.Delete(ctx, record.Name) }
	return f
}

// leases finds those that have expired and those that hold layers of images that are whole again.
func (v *verification) leases(ctx context.Context) error {
	list, err := v.s.leases.List(ctx)
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	for _, l := range list {
		problem := ""
		if until, err := time.Parse(time.RFC3339, l.Labels["containerd.io/gc.expire"]); err == nil && until.Before(time.Now()) {
			problem = "lease has expired at " + until.Format(time.RFC3339)
		}
		if id, ok := strings.CutPrefix(l.ID, keepPrefix); ok && (v.needed == nil || !v.needed(id) || v.whole(ctx, id)) {
			problem = "lease is not needed any more"
		}
		if problem != "" {
			v.faults = append(v.faults, Fault{Kind: FaultLease, Object: l.ID, Problem: problem, Remedy: "remove it", Repair: func(ctx context.Context) error {
				if err := v.s.leases.Delete(scope(ctx), l); err != nil && !errdefs.IsNotFound(err) {
					return err
				}
				return nil
			}})
		}
	}
	return nil
}

// whole tells whether an image can be used.
func (v *verification) whole(ctx context.Context, id string) bool {
	_, err := v.s.Get(ctx, id)
	return err == nil
}
