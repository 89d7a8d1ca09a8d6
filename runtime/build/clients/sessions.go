package clients

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"google.golang.org/protobuf/proto"
)

// Headers of POST /session, session/session.go of BuildKit.
const (
	headerID        = "X-Docker-Expose-Session-Uuid"
	headerSharedKey = "X-Docker-Expose-Session-Sharedkey"
)

// minSessionID is the shortest name of a session that is taken: who knows it can ask for what the session offers. BuildKit's
// have 25 characters.
const minSessionID = 16

// sessions are the open ones of clients, each with the user whose it is. What one offers no other user's build may use.
type sessions struct {
	mu    sync.Mutex
	owner map[string]Peer
}

// begin takes a session's name for the user. The header that it returns is the one to go on with: BuildKit finds the copy of
// an earlier context by the shared key, and transfers only what differs from it, so that one user's key must not be another's.
func (s *sessions) begin(header http.Header, uid uint32) (_ http.Header, end func(), err error) {
	id := header.Get(headerID)
	if len(id) < minSessionID {
		return nil, nil, fmt.Errorf("session %q: the header %s is to have at least %d characters that nobody can guess", id, headerID, minSessionID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.owner[id]; taken {
		return nil, nil, errors.New("session " + id + " already exists")
	}
	if s.owner == nil {
		s.owner = map[string]Peer{}
	}
	s.owner[id] = Peer(uid)
	header = header.Clone()
	if key := header.Get(headerSharedKey); key != "" {
		header.Set(headerSharedKey, strconv.FormatUint(uint64(uid), 10)+":"+key)
	}
	return header, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.owner, id)
	}, nil
}

// check refuses a message that names a session of another user. There are many places for such a name, those inside of
// encoded steps included, so that the bytes are searched.
func (s *sessions) check(user Peer, message any) error {
	var others [][]byte
	s.mu.Lock()
	for id, owner := range s.owner {
		if owner != user {
			others = append(others, []byte(id))
		}
	}
	s.mu.Unlock()
	m, ok := message.(proto.Message)
	if len(others) == 0 || !ok {
		return nil
	}
	encoded, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	for _, id := range others {
		if bytes.Contains(encoded, id) {
			return fmt.Errorf("session %s belongs to another user", id)
		}
	}
	return nil
}
