package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/spf13/cobra"

	"tutti/scheduler/api"
)

// containerLogsFlags are docker's.
type containerLogsFlags struct {
	details, follow, timestamps bool
	since, until, tail          string
}

func (a *app) containerLogsCommand() *cobra.Command {
	var f containerLogsFlags
	cmd := &cobra.Command{
		Use:         "logs [OPTIONS] CONTAINER",
		Short:       "Fetch the logs of a container",
		Args:        exactArgs(1),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			o, err := f.options(time.Now())
			if err != nil {
				return err
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			j, err := inspectContainer(ctx, c, args[0])
			if err != nil {
				return err
			}
			if o.Follow {
				return a.followContainer(ctx, c, j.ID, o, &f)
			}
			return a.copyLogs(ctx, c, containerPath(j.ID, "logs", f.query(o)), j.Config.Tty)
		}),
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.details, "details", false, "Show extra details provided to logs")
	flags.BoolVarP(&f.follow, "follow", "f", false, "Follow log output")
	flags.StringVar(&f.since, "since", "", `Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`)
	flags.StringVar(&f.until, "until", "", `Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`)
	flags.BoolVarP(&f.timestamps, "timestamps", "t", false, "Show timestamps")
	flags.StringVarP(&f.tail, "tail", "n", "all", "Number of lines to show from the end of the logs")
	return cmd
}

// options are what is asked for; relative times are before now. As in docker, a tail that is no number is all.
func (f *containerLogsFlags) options(now time.Time) (api.LogOptions, error) {
	o := api.LogOptions{Tail: -1, Follow: f.follow}
	if n, err := strconv.Atoi(f.tail); err == nil && n >= 0 {
		o.Tail = n
	}
	for _, t := range []struct {
		name, text string
		to         *time.Time
	}{{"since", f.since, &o.Since}, {"until", f.until, &o.Until}} {
		var err error
		if *t.to, err = api.ParseTime(t.text, now); err != nil {
			return o, fmt.Errorf("invalid value for %q: %w", t.name, err)
		}
	}
	return o, nil
}

// query is the same in docker's terms.
func (f *containerLogsFlags) query(o api.LogOptions) url.Values {
	q := url.Values{
		"stdout": {"1"}, "stderr": {"1"}, "tail": {"all"}, "follow": {strconv.FormatBool(o.Follow)},
		"timestamps": {strconv.FormatBool(f.timestamps)}, "details": {strconv.FormatBool(f.details)},
	}
	if o.Tail >= 0 {
		q.Set("tail", strconv.Itoa(o.Tail))
	}
	for name, t := range map[string]time.Time{"since": o.Since, "until": o.Until} {
		if !t.IsZero() {
			q.Set(name, fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()))
		}
	}
	return q
}

// copyLogs prints what the engine sends: a terminal's bytes as they are, else each stream where it belongs.
func (a *app) copyLogs(ctx context.Context, c *api.Client, path string, tty bool) error {
	body, err := c.Open(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // reads only
	if tty {
		_, err = io.Copy(a.out, body)
	} else {
		_, err = stdcopy.StdCopy(a.out, a.err, body)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && engineGone(err):
		return errors.Join(errors.New("the logs broke off"), err)
	}
	return err
}

// followContainer prints what a container has logged and logs, until it has ended. If the engine dies and is started again
// meanwhile, it goes on where it broke off.
func (a *app) followContainer(ctx context.Context, c *api.Client, id string, o api.LogOptions, f *containerLogsFlags) error {
	l := &loggedLines{out: a.out, err: a.err, stamps: f.timestamps, follower: follower{cursors: map[string]*cursor{}}}
	opened := time.Now()
	for {
		q := f.query(o)
		q.Set("timestamps", "true")
		q.Set("framed", "true")
		body, err := c.Open(ctx, http.MethodGet, containerPath(id, "logs", q), nil)
		if err != nil {
			return err
		}
		err = l.copy(body)
		_ = body.Close() // reads only
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil || l.failed != nil || !engineGone(err):
			return err
		}
		o = l.rewind(o, opened)
		if err := awaitEngine(ctx, c); err != nil {
			return err
		}
	}
}

// loggedLines prints the lines of a container that have not been printed yet.
type loggedLines struct {
	follower
	out, err io.Writer
	stamps   bool  // to be printed, too
	failed   error // what could not be printed
}

// logFrameLimit is more than the engine puts into one frame: a line, of which longer ones come in parts of 1 MiB.
const logFrameLimit = 4 << 20

// copy prints docker's frames, each of which is a line behind its time, until the stream ends.
func (l *loggedLines) copy(body io.Reader) error {
	in := bufio.NewReaderSize(body, 64<<10)
	for {
		var head [8]byte
		if _, err := io.ReadFull(in, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		size := binary.BigEndian.Uint32(head[4:])
		if size > logFrameLimit {
			return fmt.Errorf("logs: a frame of %d bytes", size)
		}
		text := make([]byte, size)
		if _, err := io.ReadFull(in, text); err != nil {
			return fmt.Errorf("logs: %w", noEnd(err))
		}
		stamp, line, _ := bytes.Cut(text, []byte(" "))
		at, err := time.Parse(time.RFC3339Nano, string(stamp))
		if err != nil {
			return fmt.Errorf("logs: the time of a line: %w", err)
		}
		if !l.fresh(api.LogFrame{Time: at}) {
			continue
		}
		if l.stamps {
			line = text
		}
		to := l.out
		if head[0] == byte(stdcopy.Stderr) {
			to = l.err
		}
		if _, l.failed = to.Write(line); l.failed != nil {
			return l.failed
		}
	}
}

// noEnd is the error of a stream that ends where it must not.
func noEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
