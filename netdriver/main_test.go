package netdriver

import (
	"os"
	"path/filepath"
	"testing"

	"tutti/netdriver/portmap/relay"
)

// TestMain lets the test's program be the relay, too.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == relay.Program {
		os.Exit(relay.Main())
	}
	os.Exit(m.Run())
}
