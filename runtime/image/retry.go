package image

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
)

// How often a transfer that the network or the registry has broken off is begun again, and after what time. What has
// arrived is kept: a layer goes on where it stopped.
const (
	maxRetries     = 4
	firstRetryWait = 500 * time.Millisecond
)

// retry repeats work that fails for a reason that may pass.
func retry(ctx context.Context, work func() error) error {
	wait := firstRetryWait
	for i := 0; ; i++ {
		err := work()
		if err == nil || i == maxRetries || ctx.Err() != nil || !passing(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
		wait *= 2
	}
}

// passing tells whether an error may be gone a moment later: a broken connection, a registry that is overloaded or being
// restarted. That nobody listens or a name is unknown is no such error: people want to be told at once.
func passing(err error) bool {
	var status remoteerrors.ErrUnexpectedStatus
	if errors.As(err, &status) {
		return status.StatusCode >= http.StatusInternalServerError && status.StatusCode != http.StatusNotImplemented || status.StatusCode == http.StatusTooManyRequests
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, errStalled) {
		return true
	}
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}
