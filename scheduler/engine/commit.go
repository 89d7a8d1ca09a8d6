package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/containerd/platforms"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/events"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tutti/runtime/files"
	"tutti/runtime/image"
	"tutti/runtime/image/changes"
	"tutti/scheduler/container"
	"tutti/scheduler/imageconfig"
)

// CommitOptions of Commit.
type CommitOptions struct {
	Name            string // of the image; "": it gets none
	Author, Comment string
	Changes         []string // Dockerfile instructions
	Pause           bool     // the container stands still while its files are read
	// Config replaces what it says of the container's configuration; nil: nothing.
	Config *dockerspec.DockerOCIImageConfig
}

// Commit makes an image of a container: its image with what it has changed as a further layer, and its configuration.
func (e *Engine) Commit(ctx context.Context, name string, o CommitOptions) (image.Image, error) {
	u, err := e.FindUnit(name)
	if err != nil {
		return image.Image{}, err
	}
	base, err := e.ImageStore.Get(ctx, u.Config.ImageID)
	if err != nil {
		return image.Image{}, err
	}
	config := imageconfig.Of(&u.Config, base)
	imageconfig.Override(&config, o.Config)
	if err := changes.Apply(&config, o.Changes); err != nil {
		return image.Image{}, &kindError{ErrInvalid, err.Error()}
	}
	n := image.New{
		Base: &base, Config: config, Author: o.Author, Name: o.Name,
		Platform: ocispec.Platform{OS: base.OS, Architecture: base.Arch, Variant: base.Variant},
		History:  ocispec.History{Author: o.Author, Comment: o.Comment, CreatedBy: strings.Join(u.Config.Args(), " ")},
	}
	made, err := e.ImageStore.Create(ctx, n, func(w io.Writer) error { return e.writeChanges(ctx, u, o.Pause, w) })
	if err != nil {
		return made, fmt.Errorf("commit container %s: %w", u.Name(), err)
	}
	e.Publish(u, events.ActionCommit, "comment", o.Comment, "imageID", made.ID, "imageRef", o.Name)
	return made, nil
}

// writeChanges writes the layer of a commit. A container that runs stands still meanwhile, if it is to.
func (e *Engine) writeChanges(ctx context.Context, u *Unit, still bool, w io.Writer) (err error) {
	if still && u.Snapshot().Status == container.Running {
		err := e.PauseUnit(ctx, u)
		if err != nil && !errors.Is(err, ErrConflict) { // it has just ended or been paused
			return err
		}
		if err == nil {
			goOn := sync.OnceValue(func() error { return e.UnpauseUnit(context.WithoutCancel(ctx), u) })
			defer func() {
				if e := goOn(); e != nil && !errors.Is(e, ErrConflict) {
					err = errors.Join(err, e)
				}
			}()
		}
	}
	return e.useDifference(ctx, u, func(ctx context.Context, d files.Difference) error { return d.WriteLayer(ctx, w) })
}

// ImportOptions of Import.
type ImportOptions struct {
	Source   string // for the history: a URL, or "-"
	Name     string // of the image; "": it gets none
	Message  string
	Changes  []string // Dockerfile instructions
	Platform *ocispec.Platform
}

// Import makes an image of one layer, which is a tar of a root file system, compressed or not.
func (e *Engine) Import(ctx context.Context, r io.Reader, o ImportOptions) (image.Image, error) {
	var config dockerspec.DockerOCIImageConfig
	if err := changes.Apply(&config, o.Changes); err != nil {
		return image.Image{}, &kindError{ErrInvalid, err.Error()}
	}
	platform := platforms.DefaultSpec()
	if o.Platform != nil {
		platform = platforms.Normalize(*o.Platform)
	}
	if o.Message == "" {
		o.Message = "Imported from " + o.Source
	}
	n := image.New{
		Config: config, Name: o.Name, History: ocispec.History{Comment: o.Message},
		Platform: ocispec.Platform{OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant},
	}
	made, err := e.ImageStore.Create(ctx, n, func(w io.Writer) error {
		return e.ImageStore.Plain(w, r)
	})
	if err != nil {
		return made, fmt.Errorf("import: %w", err)
	}
	return made, nil
}

// OpenURL fetches what is to be imported.
func (e *Engine) OpenURL(ctx context.Context, source string) (io.ReadCloser, error) {
	u, err := url.Parse(source)
	if err == nil && u.Scheme == "" {
		u, err = url.Parse("http://" + source)
	}
	if err == nil && u.Scheme != "http" && u.Scheme != "https" {
		err = errors.New("only http and https are supported")
	}
	if err != nil {
		return nil, &kindError{ErrInvalid, fmt.Sprintf("source %q: %v", source, err)}
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("download %s: %s", u.Redacted(), answer.Status), answer.Body.Close())
	}
	return answer.Body, nil
}
