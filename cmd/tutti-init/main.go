// Command tutti-init is the tiny static program that the engine embeds and runs
// from a sealed memfd. argv[0] says what it is to be: "tutti-init" sets up and
// becomes a container process, "tutti-keeper" is the engine's parent.
package main

import (
	"os"
	"path/filepath"
)

// programs maps argv[0] to what runs; keeper.go adds "tutti-keeper".
var programs = map[string]func() int{"tutti-init": initMain}

func main() {
	run := programs[filepath.Base(os.Args[0])]
	if run == nil {
		os.Exit(exitSetup)
	}
	os.Exit(run())
}
