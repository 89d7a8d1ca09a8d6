package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tutti/runtime/logs/ship"
)

// lastWords bounds how long a container's last output waits for the server it is sent to. What it could not take then is
// sent when the container runs again.
const lastWords = 10 * time.Second

// shipper sends a container's log on, as the logging drivers journald and syslog do; nil with another driver.
func (u *Unit) shipper(e *Engine) (*ship.Shipper, error) {
	if !u.Config.Log.SentOn() {
		return nil, nil //nolint:nilnil // nothing to send is an answer
	}
	hostname, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	t, err := u.Config.LogTarget(hostname)
	if err != nil {
		return nil, err
	}
	return &ship.Shipper{Target: t, Log: u.Log, Position: filepath.Join(u.dir, "shipped"), Logger: e.Log.With("container", u.Name())}, nil
}

// canShip refuses to start a container whose log nobody takes, as docker does.
func (s *starter) canShip(ctx context.Context) error {
	sh, err := s.u.shipper(s.e)
	if err == nil && sh != nil {
		err = sh.Target.Probe(ctx)
	}
	if err != nil {
		return fmt.Errorf("failed to initialize logging driver %s: %w", s.u.Config.Log.Driver, err)
	}
	return nil
}

// ship sends on what one run of a container writes, until whole is closed, when the log has all of it, and everything has
// been sent.
func (e *Engine) ship(u *Unit, whole <-chan struct{}) {
	sh, err := u.shipper(e)
	if err != nil {
		e.Log.Error("send the log on", "container", u.Name(), "error", err)
	}
	if sh == nil {
		return
	}
	release := e.busy.begin()
	e.wg.Go(func() {
		defer release()
		u.shipping.Lock() // the last words of the run before come first
		defer u.shipping.Unlock()
		ctx, cancel := context.WithCancel(e.ctx)
		defer cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			select {
			case <-whole:
				cancel()
			case <-ctx.Done():
			}
		}()
		_ = sh.Run(ctx, true) // it ends with ctx alone, and has told the log about everything else
		cancel()
		<-done
		ctx, cancel = context.WithTimeout(e.ctx, lastWords)
		defer cancel()
		if err := sh.Run(ctx, false); err != nil && e.ctx.Err() == nil {
			sh.Logger.Error("send the end of the log on", "error", err)
		}
	})
}
