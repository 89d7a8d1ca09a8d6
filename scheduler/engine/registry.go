package engine

import (
	"context"
	"io"

	"tutti/runtime/image"
	"tutti/scheduler/api"
)

// Login asks a registry whether it takes the credentials. It may give an identity token to use instead.
func (e *Engine) Login(ctx context.Context, host string, auth image.Auth) (identity string, err error) {
	return e.ImageStore.Login(ctx, host, auth)
}

// PullImage fetches an image for a platform; "" is this host's.
func (e *Engine) PullImage(ctx context.Context, ref, platform string, auth image.Auth, emit func(api.Event)) (image.Image, error) {
	return e.ImageStore.Pull(ctx, ref, image.PullOptions{Platform: platform, Auth: auth, Progress: layerEvents(ref, "Pulling", emit)})
}

// PushImage uploads an image under its name; of an index, with a platform, the image for that alone.
func (e *Engine) PushImage(ctx context.Context, ref, platform string, auth image.Auth, emit func(api.Event)) (image.Pushed, error) {
	return e.ImageStore.Push(ctx, ref, image.PushOptions{Platform: platform, Auth: auth, Progress: layerEvents(ref, "Pushing", emit)})
}

// RemoteTags lists the tags that a registry has of a repository.
func (e *Engine) RemoteTags(ctx context.Context, repository string, auth image.Auth) ([]string, error) {
	return e.ImageStore.Tags(ctx, repository, auth)
}

// InspectRemote asks a registry what an image is, without fetching it.
func (e *Engine) InspectRemote(ctx context.Context, ref string, auth image.Auth) (image.Remote, error) {
	return e.ImageStore.Inspect(ctx, ref, auth)
}

func layerEvents(ref, status string, emit func(api.Event)) func(image.Progress) {
	return func(p image.Progress) {
		emit(api.Event{Kind: api.KindResource, Resource: "Image", Name: ref, Status: status, Phase: api.PhaseWorking, Layer: p.Layer, Text: string(p.Status), Current: p.Current, Total: p.Total})
	}
}

// SaveImages writes images as an archive.
func (e *Engine) SaveImages(ctx context.Context, w io.Writer, o image.SaveOptions) error {
	return e.ImageStore.Save(ctx, w, o)
}

// LayerSizes are the bytes of an image's layers as they lie on disk, bottom first.
func (e *Engine) LayerSizes(ctx context.Context, i image.Image) ([]int64, error) {
	return e.ImageStore.LayerSizes(ctx, i)
}
