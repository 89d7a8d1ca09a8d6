package image

import (
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/transfer"
)

// Status is what happens to a layer, in docker's words.
type Status string

// The states of a layer.
const (
	StatusWaiting     Status = "Waiting"
	StatusDownloading Status = "Downloading"
	StatusDownloaded  Status = "Download complete"
	StatusExtracting  Status = "Extracting"
	StatusComplete    Status = "Pull complete"
	StatusExists      Status = "Already exists"
	StatusPushing     Status = "Pushing"
	StatusPushed      Status = "Pushed"
	StatusPushExists  Status = "Layer already exists"
)

// Progress is an event of a pull or a push: one layer's state.
type Progress struct {
	Image          string // familiar name
	Layer          string // first 12 hex digits of the compressed layer's digest
	Status         Status
	Current, Total int64 // bytes
}

var pushStatusOf = map[string]Status{
	"waiting":        StatusWaiting,
	"uploading":      StatusPushing,
	"complete":       StatusPushed,
	"already exists": StatusPushExists,
}

var pullStatusOf = map[string]Status{
	"waiting":        StatusWaiting,
	"downloading":    StatusDownloading,
	"complete":       StatusDownloaded,
	"extracting":     StatusExtracting,
	"extracted":      StatusComplete,
	"already exists": StatusExists,
}

// layerProgress translates the transfer service's events; those of manifests and
// configurations are left out, docker does not show them either.
func layerProgress(name string, statusOf map[string]Status, report func(Progress)) transfer.ProgressFunc {
	return func(p transfer.Progress) {
		status, known := statusOf[p.Event]
		if !known || p.Desc == nil || !images.IsLayerType(p.Desc.MediaType) {
			return
		}
		_, hex, _ := strings.Cut(p.Desc.Digest.String(), ":")
		report(Progress{Image: name, Layer: hex[:12], Status: status, Current: p.Progress, Total: p.Total})
	}
}
