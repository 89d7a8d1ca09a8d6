// Package access keeps those apart who look into a container's file system: an overlay's upper folder must not be mounted
// twice, and whoever copies slowly must not hold up a container that is to be started.
package access

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrInterrupted is the cause by which a user's context ends: the container is started or removed.
var ErrInterrupted = errors.New("the container is being started or removed")

// Gate lets users in. The zero value is open.
type Gate struct {
	mu     sync.Mutex
	users  []*user
	closed chan struct{} // closed when the gate is open again; nil: it is open
}

type user struct {
	alone  bool
	cancel context.CancelCauseFunc
	gone   chan struct{}
}

// Enter waits until the caller may begin: while the gate is open and, if it wants to be alone, nobody else is in. The
// context that is returned ends with ErrInterrupted as its cause when the gate closes; leave must be called then, and in
// any case.
func (g *Gate) Enter(ctx context.Context, alone bool) (_ context.Context, leave func(), err error) {
	for {
		g.mu.Lock()
		wait := g.closed
		if wait == nil {
			wait = g.inTheWay(alone)
		}
		if wait == nil {
			inner, cancel := context.WithCancelCause(ctx)
			u := &user{alone: alone, cancel: cancel, gone: make(chan struct{})}
			g.users = append(g.users, u)
			g.mu.Unlock()
			return inner, sync.OnceFunc(func() { g.leave(u) }), nil
		}
		g.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// inTheWay is closed when somebody goes who must, before another user may come; nil: nobody must.
func (g *Gate) inTheWay(alone bool) chan struct{} {
	for _, u := range g.users {
		if alone || u.alone {
			return u.gone
		}
	}
	return nil
}

func (g *Gate) leave(u *user) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u.cancel(nil)
	close(u.gone)
	g.users = slices.DeleteFunc(g.users, func(other *user) bool { return other == u })
}

// Close tells all users to go, waits until they have, and keeps others out until open is called. Only one caller at a time
// may close a gate.
func (g *Gate) Close() (open func()) {
	g.mu.Lock()
	reopened := make(chan struct{})
	g.closed = reopened
	users := slices.Clone(g.users)
	g.mu.Unlock()
	for _, u := range users {
		u.cancel(ErrInterrupted)
	}
	for _, u := range users {
		<-u.gone
	}
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.closed = nil
		close(reopened)
	})
}
