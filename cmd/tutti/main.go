// Command tutti runs compose files: it is the command line, and with the hidden command `engine` the engine behind it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "dev"

func main() {
	signals := make(chan os.Signal, 4) // a second Ctrl-C must not be lost while the first is being dealt with
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ(), signals: signals, version: version}
	os.Exit(a.main(context.Background(), os.Args[1:]))
}
