package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"tutti/runtime"
	"tutti/runtime/logs"
	"tutti/scheduler/container"
)

// How much of a failed hook's output the error shows, as docker compose has it, and how long a line of it may be.
const (
	hookLines   = 10
	hookBytes   = 2048
	hookLineMax = 64 << 10
)

// defaultHookTime is how long pre_stop may take where the container has no grace period.
const defaultHookTime = 10 * time.Second

// postStart runs the commands that belong behind the container's start, one after the other; the first that fails ends it.
func (e *Engine) postStart(ctx context.Context, u *Unit) error {
	p := u.Running()
	for _, h := range u.Config.PostStart {
		if p == nil {
			return errors.New("post_start: the container has ended")
		}
		if err := e.runHook(ctx, u, p, h); err != nil {
			return fmt.Errorf("post_start %w", err)
		}
	}
	return nil
}

// PreStop runs the commands that belong before the container's stop; it does not for one that does not run, or is paused.
// Together they may take as long as the container itself may to end; then they are killed, and the stop goes on.
func (e *Engine) PreStop(ctx context.Context, u *Unit) error {
	p := u.Running()
	if len(u.Config.PreStop) == 0 || p == nil || u.Snapshot().Status != container.Running {
		return nil
	}
	limit := u.Config.StopGrace
	if limit <= 0 {
		limit = defaultHookTime
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, h := range u.Config.PreStop {
		err := e.runHook(bounded, u, p, h)
		switch {
		case err == nil:
		case u.Running() != p: // it has ended meanwhile, and its hooks with it
			return nil
		case bounded.Err() != nil && ctx.Err() == nil:
			e.Log.Warn("pre_stop was ended", "container", u.Name(), "after", limit)
			return nil
		default:
			return fmt.Errorf("pre_stop %w", err)
		}
	}
	return nil
}

// runHook runs a command in the container. Who follows the project's logs sees what it prints; the error has the end of it.
func (e *Engine) runHook(ctx context.Context, u *Unit, p *runtime.Container, h container.Hook) error {
	var tails [2]hookTail
	var writers, readers [2]*os.File
	for i := range tails {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		readers[i], writers[i] = r, w
	}
	proc, err := p.Exec(ctx, NewID(), u.Config.HookProcess(h), runtime.Stdio{Stdout: writers[0], Stderr: writers[1]})
	for _, w := range writers {
		_ = w.Close()
	}
	if err != nil {
		return fmt.Errorf("hook could not be run: %w", err)
	}
	var reading sync.WaitGroup
	for i, stream := range []string{"stdout", "stderr"} {
		reading.Go(func() { e.readHook(u, stream, readers[i], &tails[i]) })
	}
	status, err := proc.Wait(ctx)
	if err != nil {
		if err := proc.KillTree(); err != nil {
			e.Log.Warn("end a hook", "container", u.Name(), "error", err)
		}
		_, _ = proc.Wait(context.WithoutCancel(ctx))
	}
	for _, r := range readers {
		_ = r.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // a child in the background may keep the pipe open
	}
	reading.Wait()
	if err != nil {
		return fmt.Errorf("hook was ended: %w", err)
	}
	if status.Code == 0 {
		return nil
	}
	// Standard error usually has the reason.
	output := tails[1].text()
	if output == "" {
		output = tails[0].text()
	}
	if output != "" {
		output = ": " + output
	}
	return fmt.Errorf("hook exited with status %d%s", status.Code, output)
}

func (e *Engine) readHook(u *Unit, stream string, r io.Reader, tail *hookTail) {
	lines := bufio.NewReaderSize(r, hookLineMax)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			text := strings.TrimRight(string(line), "\r\n")
			tail.add(text)
			e.bus.send(change{kind: changeHook, unit: u, stream: stream, line: []byte(text + "\n")})
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// hookTail keeps the last lines of what a hook prints.
type hookTail struct{ lines []string }

func (t *hookTail) add(line string) {
	if strings.TrimSpace(line) == "" || !utf8.ValidString(line) {
		return
	}
	t.lines = append(t.lines, line)
	if len(t.lines) > hookLines {
		t.lines = t.lines[1:]
	}
}

func (t *hookTail) text() string {
	text := strings.Join(t.lines, "\n")
	if len(text) > hookBytes {
		text = strings.ToValidUTF8(text[len(text)-hookBytes:], "")
	}
	return text
}

// TellHook shows who follows the logs of a container's project a line that a hook of the container has printed.
func (e *Engine) TellHook(u *Unit, l logs.Entry) {
	e.bus.send(change{kind: changeHook, unit: u, stream: l.Stream, line: l.Line})
}
