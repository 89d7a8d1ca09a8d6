package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
)

// How often a transfer that the network or the registry has broken off is begun again, and after what time. What has
// arrived is kept: a layer goes on where it stopped.
const (
	maxRetries     = 4
	firstRetryWait = 500 * time.Millisecond
	// maxWait is how long a registry may ask to be left alone; one that wants more is not asked again.
	maxWait = 60 * time.Second
)

// Retry repeats work that fails for a reason that may pass, after half a second, then twice as long each time, or when the
// registry says. One that has stopped answering twice is dead.
func Retry(ctx context.Context, work func() error) error {
	wait, stalls := firstRetryWait, 0
	for i := 0; ; i++ {
		err := work()
		if errors.Is(err, errStalled) {
			if stalls++; stalls > 1 {
				return err
			}
		}
		if err == nil || i == maxRetries || ctx.Err() != nil || !passing(err) {
			return err
		}
		pause := wait
		if busy := (*busyError)(nil); errors.As(err, &busy) {
			if busy.after > maxWait {
				return err
			}
			pause = max(pause, busy.after)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		wait *= 2
	}
}

// passing tells whether an error may be gone a moment later: a broken connection, a registry that is overloaded or being
// restarted. That nobody listens or a name is unknown is no such error: people want to be told at once.
func passing(err error) bool {
	if status, ok := errors.AsType[remoteerrors.ErrUnexpectedStatus](err); ok {
		return status.StatusCode >= http.StatusInternalServerError && status.StatusCode != http.StatusNotImplemented
	}
	if busy := (*busyError)(nil); errors.As(err, &busy) {
		return true
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, errStalled) {
		return true
	}
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

// busyError: a registry wants to be asked later.
type busyError struct {
	status string
	after  time.Duration // 0 when it does not say
}

func (e *busyError) Error() string {
	if e.after == 0 {
		return fmt.Sprintf("the registry answers %s", e.status)
	}
	return fmt.Sprintf("the registry answers %s and asks to wait %v", e.status, e.after)
}

// busyAnswer recognises 429, and 503 with a time (RFC 9110, 10.2.3). containerd would ask again at once.
func busyAnswer(resp *http.Response) *busyError {
	after := resp.Header.Get("Retry-After")
	if resp.StatusCode != http.StatusTooManyRequests && (resp.StatusCode != http.StatusServiceUnavailable || after == "") {
		return nil
	}
	busy := &busyError{status: strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)}
	if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
		busy.after = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(after); err == nil {
		busy.after = max(0, time.Until(at).Round(time.Second))
	}
	return busy
}
