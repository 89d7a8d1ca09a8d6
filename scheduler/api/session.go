package api

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
)

// A session is the answer to POST /run, /attach and /exec: the connection becomes the process's streams. What the client
// sends is the process's standard input, as it is; ending it (CloseWrite) ends the input. What the engine sends are frames
// like docker's, an 8-byte header (kind, 0, 0, 0, length as big-endian uint32) and the payload:
//
//	stdout, stderr  output, as it comes
//	event           an Event as JSON: what happens before the container runs
//	begun           a Begun as JSON: the process runs
//	end             an End as JSON, the last frame
//
// A connection that closes without an end frame means that the engine has died: a client of a container may attach again
// with Resume and misses nothing. Window sizes and signals go beside, by docker's own requests.

// FrameKind says what a frame of a session holds.
type FrameKind byte

// The kinds of frames. The first two are docker's.
const (
	FrameStdout FrameKind = 1
	FrameStderr FrameKind = 2
	FrameEvent  FrameKind = 3
	FrameBegun  FrameKind = 4
	FrameEnd    FrameKind = 5
)

// maxFrame bounds what a client takes for a frame: larger ones are no frames of an engine.
const maxFrame = 16 << 20

// RunRequest asks for POST /run: one container of a service, beside those of `up`.
type RunRequest struct {
	Project       json.RawMessage `json:"project"` // as the files have it, without what OneOff changes
	OneOff        OneOff          `json:"oneOff"`
	NoDeps        bool            `json:"noDeps,omitempty"`
	Build         bool            `json:"build,omitempty"`
	Pull          string          `json:"pull,omitempty"` // "", always, missing, never
	RemoveOrphans bool            `json:"removeOrphans,omitempty"`
	UseAliases    bool            `json:"useAliases,omitempty"`
	AutoRemove    bool            `json:"autoRemove,omitempty"`
	Detach        bool            `json:"detach,omitempty"` // the session ends when the container runs
	Parallel      int             `json:"parallel,omitempty"`
	Size          Size            `json:"size"`
	Client        ClientContext   `json:"client"`
}

// OneOff is what `run` changes about a service for one container, as the flags of docker compose's run say it: a project.OneOff on its way.
type OneOff struct {
	Service    string   `json:"service"`
	Command    []string `json:"command,omitempty"` // instead of the service's
	Entrypoint []string `json:"entrypoint"`        // nil: the service's; without Command the service's command goes too
	Env        []string `json:"env,omitempty"`     // NAME=value, over the service's
	User       string   `json:"user,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	Name       string   `json:"name,omitempty"` // of the container
	// Volumes are in the short syntax, beside the service's; relative paths begin at Dir.
	Volumes      []string          `json:"volumes,omitempty"`
	Dir          string            `json:"dir,omitempty"`
	Publish      []string          `json:"publish,omitempty"`      // ports in the short syntax
	ServicePorts bool              `json:"servicePorts,omitempty"` // the service's ports instead
	Labels       map[string]string `json:"labels,omitempty"`
	CapAdd       []string          `json:"capAdd,omitempty"`
	CapDrop      []string          `json:"capDrop,omitempty"`
	TTY          bool              `json:"tty,omitempty"`
	Interactive  bool              `json:"interactive,omitempty"` // its standard input is open
}

// Size is a terminal's, in characters; zero: not known.
type Size struct {
	Width  uint16 `json:"width,omitempty"`
	Height uint16 `json:"height,omitempty"`
}

// AttachRequest asks for POST /attach to a container that runs, or is to.
type AttachRequest struct {
	Container string  `json:"container"` // name or id
	Stdin     bool    `json:"stdin,omitempty"`
	Start     bool    `json:"start,omitempty"` // one that does not run is started
	Size      Size    `json:"size,omitzero"`   // of its terminal then
	Resume    *Resume `json:"resume,omitempty"`
}

// LogPosition is a place in a container's log.
type LogPosition struct {
	Inode  uint64 `json:"inode"`
	Offset int64  `json:"offset"`
}

// Resume lets an attachment go on that its engine's death has cut off: from where it had begun, less what had come.
type Resume struct {
	From   LogPosition `json:"from"`
	Stdout int64       `json:"stdout"` // bytes that had come
	Stderr int64       `json:"stderr"`
	Begun  int64       `json:"begun"` // Begun.Run of then
}

// ExecRequest asks for POST /exec: a further process in a container that runs.
type ExecRequest struct {
	Container  string   `json:"container"` // name or id
	Args       []string `json:"args"`
	Env        []string `json:"env,omitempty"`
	User       string   `json:"user,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	TTY        bool     `json:"tty,omitempty"`
	Stdin      bool     `json:"stdin,omitempty"`
	Privileged bool     `json:"privileged,omitempty"`
	Detach     bool     `json:"detach,omitempty"` // the session ends when the process runs
	Size       Size     `json:"size"`
}

// Begun says that the process of a session runs.
type Begun struct {
	ID    string      `json:"id"`             // of the container, or of the exec
	Name  string      `json:"name,omitempty"` // of the container
	TTY   bool        `json:"tty,omitempty"`
	Stdin bool        `json:"stdin,omitempty"` // the process has an input that can be written to
	From  LogPosition `json:"from"`
	Run   int64       `json:"run,omitempty"` // when the container was started, nanoseconds since 1970: tells its runs apart
}

// End is how a session ended.
type End struct {
	Code  int    `json:"code"`
	Error string `json:"error,omitempty"` // the engine's, ready for the user; Code is 125, 126 or 127 then
}

// ErrCutOff means that the engine has gone in the middle of a session.
var ErrCutOff = errors.New("the engine went away")

// Session is a client's side of a session.
type Session struct {
	conn *net.UnixConn
	r    *bufio.Reader
	buf  []byte
}

// Session posts a request ("run", "attach", "exec") that is answered by a session.
func (c *Client) Session(ctx context.Context, verb string, request any) (*Session, error) {
	conn, r, err := c.Hijack(ctx, Prefix+"/"+verb, request)
	if err != nil {
		return nil, err
	}
	return &Session{conn: conn, r: r}, nil
}

// Stdin is where the process's input goes.
func (s *Session) Stdin() io.Writer { return s.conn }

// EndStdin ends the process's input.
func (s *Session) EndStdin() error { return s.conn.CloseWrite() }

// Close ends the session; what runs goes on.
func (s *Session) Close() error { return s.conn.Close() }

// Next returns the next frame; its payload is valid until the next call. The error is ErrCutOff when the engine has gone.
func (s *Session) Next() (FrameKind, []byte, error) {
	var h [8]byte
	if _, err := io.ReadFull(s.r, h[:]); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrCutOff, err)
	}
	n := binary.BigEndian.Uint32(h[4:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("the engine sent a frame of %d bytes", n)
	}
	if int(n) > cap(s.buf) {
		s.buf = make([]byte, max(n, 32<<10))
	}
	b := s.buf[:n]
	if _, err := io.ReadFull(s.r, b); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrCutOff, err)
	}
	return FrameKind(h[0]), b, nil
}

// FrameHeader begins a frame with n bytes of payload.
func FrameHeader(k FrameKind, n int) [8]byte {
	h := [8]byte{byte(k)}
	binary.BigEndian.PutUint32(h[4:], uint32(n)) //nolint:gosec // writers send parts of at most 64 KiB
	return h
}
