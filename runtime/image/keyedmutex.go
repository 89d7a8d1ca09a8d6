package image

import (
	"context"
	"sync"
)

// keyedMutex is a set of mutexes by name, made when they are needed: two pulls of
// one image, or two images with one layer, do the work once. It is containerd's
// unpack.KeyedLocker. The zero value is ready.
type keyedMutex struct {
	mu    sync.Mutex
	locks map[string]*keyLock
}

type keyLock struct {
	held  chan struct{} // has room for the one holder
	users int           // holder and waiters
}

// Lock waits for the key or for the end of ctx.
func (k *keyedMutex) Lock(ctx context.Context, key string) error {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*keyLock{}
	}
	l := k.locks[key]
	if l == nil {
		l = &keyLock{held: make(chan struct{}, 1)}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()

	select {
	case l.held <- struct{}{}:
		return nil
	case <-ctx.Done():
		k.leave(key, l)
		return ctx.Err()
	}
}

// Unlock releases a key that Lock gave.
func (k *keyedMutex) Unlock(key string) {
	k.mu.Lock()
	l := k.locks[key]
	k.mu.Unlock()
	<-l.held
	k.leave(key, l)
}

func (k *keyedMutex) leave(key string, l *keyLock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(k.locks, key)
	}
}
