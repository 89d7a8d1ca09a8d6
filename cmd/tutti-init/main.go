// Command tutti-init is the tiny static program that the engine embeds and runs
// from a sealed memfd. argv[0] says what it is to be: "tutti-init" sets up and
// becomes a container process, "tutti-keeper" is the engine's parent.
package main

import (
	"os"
	"path/filepath"
	"runtime"

	"tutti/netdriver/portmap/relay"
)

// programs maps argv[0] to what runs; keeper.go adds "tutti-keeper".
var programs = map[string]func() int{"tutti-init": initMain, "tutti-reaper": reaperMain, relay.Program: relay.Main}

// The main goroutine of an init must stay on the process's first thread: that is
// the one whose namespaces and cgroups the kernel shows as the process's own, and
// the only one that is left after execve.
func init() {
	if len(os.Args) > 0 && filepath.Base(os.Args[0]) == "tutti-init" {
		runtime.LockOSThread()
	}
}

func main() {
	if len(os.Args) == 0 {
		os.Exit(exitSetup)
	}
	run := programs[filepath.Base(os.Args[0])]
	if run == nil {
		os.Exit(exitSetup)
	}
	os.Exit(run())
}
