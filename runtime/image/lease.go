package image

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
)

// leaseTime bounds how long the work of a process that died is kept, so that a
// pull can go on where it stopped.
const leaseTime = 24 * time.Hour

// lease keeps what is written with the returned context from being collected until
// release is called, which works after ctx is cancelled too.
func (s *Store) lease(ctx context.Context) (context.Context, func() error, error) {
	l, err := s.leases.Create(ctx, leases.WithRandomID(), leases.WithExpiration(leaseTime))
	if err != nil {
		return ctx, nil, fmt.Errorf("create lease: %w", err)
	}
	release := func() error { return s.leases.Delete(context.WithoutCancel(ctx), l) }
	return leases.WithLease(ctx, l.ID), release, nil
}

func joinRelease(err error, release func() error) error {
	if e := release(); e != nil {
		return errors.Join(err, fmt.Errorf("release lease: %w", e))
	}
	return err
}
