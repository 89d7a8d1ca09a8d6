package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// ErrNotRunning is returned when nothing listens on the engine's socket.
var ErrNotRunning = errors.New("the engine is not running")

// dialTries bounds how often the engine is revived for one connection: it may die again in between.
const dialTries = 100

// Client talks to one engine over its unix socket. It is safe for concurrent use.
type Client struct {
	socket string
	revive func(context.Context) error
	http   *http.Client
}

// NewClient returns a client of the engine that listens on socket; nothing is dialled yet. When nothing listens, revive
// is called to start the engine and the socket is tried again; without revive that is ErrNotRunning.
func NewClient(socket string, revive func(context.Context) error) *Client {
	c := &Client{socket: socket, revive: revive}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) }
	c.http = &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}}
	return c
}

// dial connects to the engine. Whoever revives it may be told that it is ready in the moment in which it dies, hence the loop.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	for try := 0; ; try++ {
		conn, err := d.DialContext(ctx, "unix", c.socket)
		down := errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
		switch {
		case errors.Is(err, syscall.EACCES):
			return nil, fmt.Errorf("permission denied on the engine's socket %s: run tutti as root, for example with sudo", c.socket)
		case !down:
			return conn, err
		case c.revive == nil || try == dialTries:
			return nil, fmt.Errorf("%w: %w", ErrNotRunning, err)
		}
		if err := c.revive(ctx); err != nil {
			return nil, err
		}
	}
}

// Ping says whether the engine answers; ErrNotRunning when nothing listens.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.EngineBuild(ctx)
	return err
}

// BuildHeader is in the engine's answer to a ping: which program it is.
const BuildHeader = "Tutti-Build"

// EngineBuild says which program the engine is; "" when it does not tell. ErrNotRunning when nothing listens.
func (c *Client) EngineBuild(ctx context.Context) (string, error) {
	r, err := c.do(ctx, http.MethodGet, "/_ping", nil)
	if err != nil {
		return "", err
	}
	return r.Header.Get(BuildHeader), r.Body.Close()
}

// EndError is how a project verb failed: a message ready for the user and the exit code of the command.
type EndError struct {
	Message  string
	ExitCode int
}

func (e *EndError) Error() string { return e.Message }

// Containers lists a project's containers, stopped ones too.
func (c *Client) Containers(ctx context.Context, project string) ([]Container, error) {
	var l []Container
	return l, c.Get(ctx, Prefix+"/projects/"+url.PathEscape(project)+"/containers", &l)
}

// Projects lists the projects that have containers, running or not.
func (c *Client) Projects(ctx context.Context) ([]Project, error) {
	var l []Project
	return l, c.Get(ctx, Prefix+"/projects", &l)
}

// Version asks the engine what it is.
func (c *Client) Version(ctx context.Context) (VersionInfo, error) {
	var v VersionInfo
	return v, c.Get(ctx, Prefix+"/version", &v)
}

// Logs hands every frame of a project's logs to emit, in the order of time, until the stream ends or ctx is done.
func (c *Client) Logs(ctx context.Context, project string, o LogOptions, emit func(LogFrame) error) error {
	r, err := c.OpenLogs(ctx, project, o)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		f, err := r.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := emit(f); err != nil {
			return err
		}
	}
}

// LogReader is an open log stream.
type LogReader struct {
	ctx  context.Context //nolint:containedctx // the request's, to tell its end from the engine's
	body io.ReadCloser
	dec  *json.Decoder
}

// OpenLogs is Logs for a caller who has to know that the engine has begun to watch before it goes on: the engine answers
// with its headers once it is sure to see whatever happens from then on.
func (c *Client) OpenLogs(ctx context.Context, project string, o LogOptions) (*LogReader, error) {
	r, err := c.do(ctx, http.MethodGet, Prefix+"/projects/"+url.PathEscape(project)+"/logs?"+o.Query().Encode(), nil)
	if err != nil {
		return nil, err
	}
	return &LogReader{ctx: ctx, body: r.Body, dec: json.NewDecoder(bufio.NewReaderSize(r.Body, 64<<10))}, nil
}

// Next waits for the next frame; io.EOF is the stream's proper end.
func (r *LogReader) Next() (LogFrame, error) {
	var f LogFrame
	err := r.dec.Decode(&f)
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return f, err
	case r.ctx.Err() != nil:
		return f, r.ctx.Err()
	}
	return f, fmt.Errorf("logs: the engine went away: %w", err)
}

// Close ends the stream.
func (r *LogReader) Close() error { return r.body.Close() }

// Query writes the options as URL parameters; ParseLogOptions reads them.
func (o LogOptions) Query() url.Values {
	q := url.Values{"service": o.Services, "tail": {strconv.Itoa(o.Tail)}}
	set := func(k, v string, ok bool) {
		if ok {
			q.Set(k, v)
		}
	}
	set("index", strconv.Itoa(o.Index), o.Index > 0)
	set("since", o.Since.Format(time.RFC3339Nano), !o.Since.IsZero())
	set("until", o.Until.Format(time.RFC3339Nano), !o.Until.IsZero())
	set("follow", "1", o.Follow)
	set("events", "1", o.Events)
	return q
}

// ParseLogOptions reads what Query wrote.
func ParseLogOptions(q url.Values) (LogOptions, error) {
	o := LogOptions{Services: q["service"], Tail: -1, Follow: q.Get("follow") == "1", Events: q.Get("events") == "1"}
	var errs [4]error
	if v := q.Get("tail"); v != "" {
		o.Tail, errs[0] = strconv.Atoi(v)
	}
	if v := q.Get("index"); v != "" {
		o.Index, errs[1] = strconv.Atoi(v)
	}
	if v := q.Get("since"); v != "" {
		o.Since, errs[2] = time.Parse(time.RFC3339Nano, v)
	}
	if v := q.Get("until"); v != "" {
		o.Until, errs[3] = time.Parse(time.RFC3339Nano, v)
	}
	return o, errors.Join(errs[:]...)
}

// Get reads the JSON at path into v.
func (c *Client) Get(ctx context.Context, path string, v any) error {
	r, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	return json.NewDecoder(r.Body).Decode(v)
}

// Call sends a request of the Docker Engine API (path without version) and reads the JSON answer into out, when out is
// not nil and there is an answer. A body that is an io.Reader is sent as it is, anything else as JSON.
func (c *Client) Call(ctx context.Context, method, path string, body, out any) error {
	r, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if out == nil || r.StatusCode == http.StatusNoContent {
		return nil
	}
	return json.NewDecoder(r.Body).Decode(out)
}

// Open is Call with the answer as a stream, which the caller closes.
func (c *Client) Open(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	r, err := c.send(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	return r.Body, nil
}

// Hijack sends a request that the engine answers by handing over the connection (exec, attach): raw bytes both ways.
// The returned reader may already hold what the engine sent first; CloseWrite on the connection ends the stdin.
func (c *Client) Hijack(ctx context.Context, path string, body any) (*net.UnixConn, *bufio.Reader, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, nil, err
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://tutti"+path, bytes.NewReader(b))
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "tcp")
	br := bufio.NewReader(conn)
	err = r.Write(conn)
	if err == nil {
		var res *http.Response
		if res, err = http.ReadResponse(br, r); err == nil && res.StatusCode != http.StatusSwitchingProtocols && res.StatusCode != http.StatusOK {
			err = answerError(res)
		}
	}
	if err != nil {
		if cutOff(err) {
			err = fmt.Errorf("%w: %w", ErrCutOff, err)
		}
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn.(*net.UnixConn), br, nil
}

func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	switch b := body.(type) {
	case nil:
		return c.do(ctx, method, path, nil)
	case io.Reader:
		return c.do(ctx, method, path, b)
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return c.do(ctx, method, path, bytes.NewReader(b))
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://tutti"+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(r)
	for try := 0; err != nil && method == http.MethodGet && cutOff(err) && c.revive != nil && try < dialTries; try++ {
		res, err = c.http.Do(r) // the engine died before it could answer, the next one will
	}
	if err != nil {
		if about, ok := errors.AsType[*url.Error](err); ok {
			err = about.Err
		}
		return nil, err
	}
	if res.StatusCode >= 400 {
		return nil, answerError(res)
	}
	return res, nil
}

// cutOff says whether an engine's end cut a request off.
func cutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// StatusError is an error answer of the engine: its HTTP status and the message in docker's {"message": ...} form.
type StatusError struct {
	Code    int
	Message string
}

func (e *StatusError) Error() string { return e.Message }

func answerError(res *http.Response) error {
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	var m struct{ Message string }
	if json.Unmarshal(b, &m) != nil || m.Message == "" {
		m.Message = fmt.Sprintf("the engine answered %s: %s", res.Status, bytes.TrimSpace(b))
	}
	return &StatusError{Code: res.StatusCode, Message: m.Message}
}
