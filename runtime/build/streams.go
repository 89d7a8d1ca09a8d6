package build

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/moby/buildkit/executor"

	"tutti/runtime"
)

// streams are pipes between BuildKit's readers and writers and a program, which
// needs files.
type streams struct {
	process executor.ProcessInfo
	inside  runtime.Stdio // the program's ends
	stdin   *os.File      // our ends
	stdout  *os.File
	stderr  *os.File
	console *os.File
	input   sync.WaitGroup
	output  sync.WaitGroup
}

func openStreams(process executor.ProcessInfo) (_ *streams, err error) {
	s := &streams{process: process}
	if process.Meta.Tty {
		return s, nil
	}
	defer func() {
		if err != nil {
			s.close()
			err = fmt.Errorf("open pipes of build step: %w", err)
		}
	}()
	if process.Stdin != nil {
		if s.inside.Stdin, s.stdin, err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	if process.Stdout != nil {
		if s.stdout, s.inside.Stdout, err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	if process.Stderr != nil {
		if s.stderr, s.inside.Stderr, err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *streams) child() runtime.Stdio { return s.inside }

// start copies in both directions; the program has its ends now, ours of them are closed.
func (s *streams) start(console *os.File) {
	closeFiles(s.inside.Stdin, s.inside.Stdout, s.inside.Stderr)
	s.inside = runtime.Stdio{}
	s.console = console
	if console != nil {
		s.copyOut(s.process.Stdout, console)
		s.copyIn(console, s.process.Stdin)
		return
	}
	s.copyOut(s.process.Stdout, s.stdout)
	s.copyOut(s.process.Stderr, s.stderr)
	s.copyIn(s.stdin, s.process.Stdin)
}

func (s *streams) copyOut(to io.Writer, from *os.File) {
	if from != nil && to != nil {
		s.output.Go(func() { _, _ = io.Copy(to, from) }) // ends with the last writer
	}
}

func (s *streams) copyIn(to *os.File, from io.Reader) {
	if to != nil && from != nil {
		s.input.Go(func() {
			_, _ = io.Copy(to, from) // the program need not read it all
			if s.console == nil {
				_ = to.Close()
			}
		})
	}
}

// drain waits until everything that was printed is copied; nobody writes any more.
func (s *streams) drain(tty bool) {
	if tty && s.process.Stdin != nil {
		_ = s.process.Stdin.Close()
		s.input.Wait()
	}
	s.output.Wait()
}

func (s *streams) close() {
	closeFiles(s.inside.Stdin, s.inside.Stdout, s.inside.Stderr)
	if s.process.Stdin != nil {
		_ = s.process.Stdin.Close() // ends the copying when the program did not read all
	}
	closeFiles(s.stdin, s.stdout, s.stderr, s.console)
	s.input.Wait()
	s.output.Wait()
}

func closeFiles(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // closing twice is harmless
		}
	}
}
