// Command tutti runs compose files: it is the command line, and with the hidden command `engine` the engine behind it.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"tutti/cmd/tutti/oci"
)

// version is set by the linker.
var version = "dev"

// clientGC lets the heap of a command reach 16 MB before it is collected: loading a compose file and printing a list are
// done by then, and a quarter of their CPU time was the collector's. The engine, which stays, keeps Go's default.
const clientGC = 400

func main() {
	if args, ok := oci.Arguments(os.Args); ok {
		os.Exit(oci.Main(context.Background(), args, version))
	}
	if _, set := os.LookupEnv("GOGC"); !set && (len(os.Args) < 2 || os.Args[1] != "engine") {
		debug.SetGCPercent(clientGC)
	}
	signals := make(chan os.Signal, 4) // a second Ctrl-C must not be lost while the first is being dealt with
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ(), signals: signals, version: version}
	os.Exit(a.main(context.Background(), os.Args[1:]))
}
