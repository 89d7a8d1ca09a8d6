package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// uploadWait is how long a build waits for the request that brings its context, and that one for the build.
const uploadWait = 30 * time.Second

// errBuildOver is what an upload meets whose build is over before it was read.
var errBuildOver = errors.New("the build is over")

// buildJobs are builds with BuildKit by the id that their clients have given them: by it they are cancelled, and another
// request brings their context.
type buildJobs struct {
	mu   sync.Mutex
	jobs map[string]*buildJob
}

type buildJob struct {
	users  int // requests
	begun  bool
	cancel context.CancelFunc
	bodies chan io.Reader
	over   chan struct{} // closed when the build has ended
}

// enter finds a job, or makes it; leave is to be called once.
func (b *buildJobs) enter(id string) (j *buildJob, leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.find(id)
}

// find is enter for who holds the lock.
func (b *buildJobs) find(id string) (j *buildJob, leave func()) {
	j = b.jobs[id]
	if j == nil {
		if b.jobs == nil {
			b.jobs = map[string]*buildJob{}
		}
		j = &buildJob{bodies: make(chan io.Reader), over: make(chan struct{}), cancel: func() {}}
		b.jobs[id] = j
	}
	j.users++
	return j, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if j.users--; j.users == 0 && b.jobs[id] == j {
			delete(b.jobs, id)
		}
	}
}

// begin is the build itself; without an id nobody can find it. A build that has the same id is cancelled, as by dockerd: its
// client has lost sight of it.
func (b *buildJobs) begin(ctx context.Context, id string) (_ context.Context, j *buildJob, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	if id == "" {
		return ctx, nil, cancel
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if earlier := b.jobs[id]; earlier != nil && earlier.begun {
		earlier.cancel()
		delete(b.jobs, id)
	}
	j, leave := b.find(id)
	j.begun, j.cancel = true, cancel
	return ctx, j, sync.OnceFunc(func() {
		cancel()
		close(j.over)
		leave()
	})
}

// cancel ends a build; one that is not there has ended.
func (b *buildJobs) cancel(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if j := b.jobs[id]; j != nil {
		j.cancel()
	}
}

// body waits for the context of a build that has begun; a nil job is one without an id.
func (j *buildJob) body(ctx context.Context) (io.Reader, error) {
	if j == nil {
		return nil, errors.New("a build whose context another request brings needs a buildid")
	}
	ctx, cancel := context.WithTimeout(ctx, uploadWait)
	defer cancel()
	select {
	case body := <-j.bodies:
		return body, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the build's context, which was to be uploaded: %w", ctx.Err())
	}
}

// upload brings the context of a build, and returns when that has ended: until then it is read.
func (s *server) upload(w http.ResponseWriter, r *http.Request, id string) {
	j, leave := s.builds.enter(id)
	defer leave()
	ctx, cancel := context.WithTimeout(r.Context(), uploadWait)
	defer cancel()
	select {
	case j.bodies <- r.Body:
	case <-j.over:
		fail(w, http.StatusBadRequest, errBuildOver)
		return
	case <-ctx.Done():
		fail(w, http.StatusBadRequest, fmt.Errorf("wait for build %s, whose context was uploaded: %w", id, ctx.Err()))
		return
	}
	<-j.over
}
