package logs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// The test binary is also an engine that captures the pipes which it inherits, and a container process that
// writes numbered lines, by its first argument.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	case "engine": // engine PATH MAXSIZE
		err = testEngine(os.Args[2], os.Args[3])
	case "writer": // writer COUNT: numbered lines on both streams, in pieces of any length
		err = testWriter(os.Args[2])
	case "megabytes": // megabytes COUNT: so much on stdout, in lines of 100 bytes
		err = testMegabytes(os.Args[2])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func testEngine(path, maxSize string) error {
	size, err := strconv.ParseInt(maxSize, 10, 64)
	if err != nil {
		return err
	}
	files := map[string]*os.File{}
	for i, name := range pipeNames {
		files[name] = os.NewFile(uintptr(3+i), name)
	}
	p, err := FromFiles(files)
	if err != nil {
		return err
	}
	f, err := Open(path, Options{MaxSize: size, MaxFiles: 100_000, Resume: p})
	if err != nil {
		return err
	}
	return f.Capture(context.Background(), p)
}

func testWriter(count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	for i := 0; i < n; {
		batch := 1 + rand.IntN(200)
		if rand.IntN(20) == 0 {
			batch = 4000
		}
		var b strings.Builder
		for ; i < n && batch > 0; batch-- {
			fmt.Fprintf(&b, "%d %s\n", i, "padding that makes the line longer"[:i%35])
			i++
		}
		for _, w := range []io.Writer{os.Stdout, os.Stderr} {
			for text := b.String(); text != ""; {
				cut := 1 + rand.IntN(len(text))
				if _, err := io.WriteString(w, text[:cut]); err != nil {
					return err
				}
				text = text[cut:]
			}
		}
	}
	return nil
}

func testMegabytes(count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	line := strings.Repeat("0123456789", 10)[:99] + "\n"
	w := bufio.NewWriterSize(os.Stdout, 64<<10)
	for range n * 10_000 {
		if _, err := w.WriteString(line); err != nil {
			return err
		}
	}
	return w.Flush()
}
