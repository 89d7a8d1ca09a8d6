// Command outage is what a test of outages runs in a container: it writes numbered lines, about 1 MB/s, asks for a name
// again and again, and measures how long each took. On SIGTERM it writes what it found to a file and ends.
//
//	outage REPORT NAME
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Report is the content of the file, as JSON.
type Report struct {
	Lines         int           // written to standard output
	SlowestWrite  time.Duration // the longest that one write(2) took, in nanoseconds
	Lookups       int
	FailedLookups []string      // their errors
	SlowestLookup time.Duration // in nanoseconds
}

const (
	lineBytes    = 1024
	linePause    = time.Millisecond
	lookupPause  = 5 * time.Millisecond
	maxErrorList = 10
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: probe REPORT NAME")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var r Report
	var wg sync.WaitGroup
	wg.Go(func() { r.write(ctx) })
	wg.Go(func() { r.lookUp(ctx, os.Args[2]) })
	wg.Wait()
	b, err := json.Marshal(&r)
	if err == nil {
		err = os.WriteFile(os.Args[1], b, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (r *Report) write(ctx context.Context) {
	filler := strings.Repeat("x", lineBytes-10)
	for ctx.Err() == nil {
		r.Lines++
		line := fmt.Appendf(nil, "%08d %s\n", r.Lines, filler)
		start := time.Now()
		if _, err := os.Stdout.Write(line); err != nil {
			panic(err)
		}
		r.SlowestWrite = max(r.SlowestWrite, time.Since(start))
		time.Sleep(linePause)
	}
}

// lookUp asks as the C library does: with the timeouts and attempts of resolv.conf(5).
func (r *Report) lookUp(ctx context.Context, name string) {
	resolver := net.Resolver{PreferGo: true}
	for ctx.Err() == nil {
		r.Lookups++
		start := time.Now()
		_, err := resolver.LookupHost(context.WithoutCancel(ctx), name)
		r.SlowestLookup = max(r.SlowestLookup, time.Since(start))
		if err != nil && len(r.FailedLookups) < maxErrorList {
			r.FailedLookups = append(r.FailedLookups, err.Error())
		}
		time.Sleep(lookupPause)
	}
}
