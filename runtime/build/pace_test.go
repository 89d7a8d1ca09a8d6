package build

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
	"google.golang.org/grpc"
)

// A walk stops while files wait to be sent, goes on when some are, and ends with its context.
func TestPace(t *testing.T) {
	t.Parallel()
	p := &pace{}
	for range maxAsked {
		p.asked()
	}
	if err := p.wait(t.Context()); err != nil {
		t.Errorf("with %d files: %v", maxAsked, err)
	}
	p.asked()
	ended, end := context.WithCancel(t.Context())
	end()
	if err := p.wait(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with %d files, the context ended: %v", maxAsked+1, err)
	}
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if err := p.wait(t.Context()); err != nil {
			t.Errorf("the wait ended with %v", err)
		}
	})
	p.sent()
	waiting.Wait()
}

// gatedFolder lets nobody read a file until its gate is open.
type gatedFolder struct {
	fsutil.FS
	gate chan struct{}
}

func (g gatedFolder) Open(name string) (io.ReadCloser, error) {
	<-g.gate
	return g.FS.Open(name)
}

// greedyStream is a stream whose other end asks for every file that it is told of.
type greedyStream struct {
	grpc.ServerStream
	told     chan uint32
	entries  uint32
	files    atomic.Int64 // told of
	complete atomic.Int64 // sent to their ends
}

func (s *greedyStream) SendMsg(m any) error {
	packet := m.(*types.Packet)
	switch {
	case packet.Type == types.PACKET_STAT && packet.Stat == nil:
		close(s.told)
	case packet.Type == types.PACKET_STAT:
		if fs.FileMode(packet.Stat.Mode).IsRegular() {
			s.files.Add(1)
			s.told <- s.entries // is taken when the request before it was counted
		}
		s.entries++
	case packet.Type == types.PACKET_DATA && len(packet.Data) == 0:
		s.complete.Add(1)
	}
	return nil
}

func (s *greedyStream) RecvMsg(m any) error {
	packet := m.(*types.Packet)
	packet.Reset()
	id, more := <-s.told
	packet.Type, packet.ID = types.PACKET_REQ, id
	if !more {
		packet.Type = types.PACKET_FIN
	}
	return nil
}

// A folder's walk runs ahead of its files by a bounded number of them, and all are sent.
func TestWalkKeepsPace(t *testing.T) {
	t.Parallel()
	const files = 10 * maxAsked
	dir := t.TempDir()
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open, err := fsutil.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, greedy, gate := &pace{}, &greedyStream{told: make(chan uint32)}, make(chan struct{})
	stream := &pacedStream{greedy, p, context.WithValue(t.Context(), paceKey{}, p)}
	var sending sync.WaitGroup
	sending.Go(func() {
		if err := fsutil.Send(stream.Context(), stream, newWatchedFolder(gatedFolder{open, gate}, dir), nil); err != nil {
			t.Error(err)
		}
	})
	held := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.fewer != nil
	}
	for !held() {
		time.Sleep(time.Millisecond)
	}
	if told := greedy.files.Load(); told > maxAsked+2 {
		t.Errorf("%d files were told of while none was sent", told)
	}
	close(gate)
	sending.Wait()
	if told, sent := greedy.files.Load(), greedy.complete.Load(); told != files || sent != files {
		t.Errorf("told of %d files and sent %d of %d", told, sent, files)
	}
}

// A context with too many entries is refused, by its name and with what is to be done; doing that helps.
func TestTooManyFiles(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	b.maxEntries = 5 // nobody builds yet
	dir := folder(t, map[string]string{"Dockerfile": "FROM busybox\nCOPY . /ctx", "a": "", "many/1": "", "many/2": ""})
	build(t, b, Request{Context: dir}) // 5, with the folder many
	if err := os.WriteFile(filepath.Join(dir, "many", "3"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := b.Build(t.Context(), Request{Context: dir}, nil)
	if want := dir + " has more than 5 files: name those that the build does not need in its .dockerignore"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want %q", err, want)
	}
	if err := os.WriteFile(filepath.Join(dir, ".dockerignore"), []byte("many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	built := build(t, b, Request{Context: dir})
	wantContent(t, b, built, "ctx/a", "")
}
