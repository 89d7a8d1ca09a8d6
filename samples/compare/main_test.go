package compare

import (
	"fmt"
	"os"
	"testing"
)

// both are the two engines, for all tests.
var both struct{ docker, tutti *peer }

func TestMain(m *testing.M) {
	code, err := compare(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		code = 1
	}
	os.Exit(code)
}

// compare runs all tests between a dockerd and an engine that are made for them.
func compare(m *testing.M) (code int, err error) {
	work, err := os.MkdirTemp("/var/tmp", "tutti-cmp-") // short: sockets lie in it
	if err != nil {
		return 1, err
	}
	e := &environment{work: work}
	defer func() {
		if closeErr := e.close(); closeErr != nil && err == nil {
			code, err = 1, closeErr
		}
	}()
	if err := e.start(); err != nil {
		return 1, err
	}
	fmt.Print(e.versions())
	code = m.Run()
	fmt.Print(table.String())
	if path := os.Getenv("TUTTI_COMPARE_PAGE"); path != "" && code == 0 {
		err = table.writePage(path, e.versions())
	}
	return code, err
}
