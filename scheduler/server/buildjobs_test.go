package server

import (
	"context"
	"io"
	"strings"
	"testing"
)

// Two builds under one id: the earlier one is cancelled, each has an end of its own, and nothing is kept of either.
func TestBuildsWithTheSameID(t *testing.T) {
	t.Parallel()
	var jobs buildJobs
	first, _, endFirst := jobs.begin(t.Context(), "x")
	second, _, endSecond := jobs.begin(t.Context(), "x")
	if first.Err() == nil || second.Err() != nil {
		t.Errorf("the earlier build: %v, the later one: %v; the earlier one was to be cancelled", first.Err(), second.Err())
	}
	endFirst()
	if second.Err() != nil || len(jobs.jobs) != 1 {
		t.Errorf("the end of the earlier build: %v, %d jobs; the later one was to go on", second.Err(), len(jobs.jobs))
	}
	jobs.cancel("x")
	if second.Err() == nil {
		t.Error("the later build was cancelled by its id, and goes on")
	}
	endSecond()
	endSecond()
	if len(jobs.jobs) != 0 {
		t.Errorf("%d jobs are left", len(jobs.jobs))
	}
}

// A context may be uploaded before its build begins, and goes to none that was before.
func TestUploadBeforeBuild(t *testing.T) {
	t.Parallel()
	var jobs buildJobs
	uploaded, leave := jobs.enter("x")
	_, job, end := jobs.begin(t.Context(), "x")
	go func() { uploaded.bodies <- strings.NewReader("context") }()
	body, err := job.body(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(body); err != nil || string(text) != "context" {
		t.Errorf("read %q: %v", text, err)
	}
	end()
	<-uploaded.over
	leave()
	if len(jobs.jobs) != 0 {
		t.Errorf("%d jobs are left", len(jobs.jobs))
	}
	_, none, endNone := jobs.begin(t.Context(), "")
	defer endNone()
	if _, err := none.body(t.Context()); err == nil {
		t.Error("a build without an id got a context")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, job, end = jobs.begin(ctx, "y")
	defer end()
	if _, err := job.body(ctx); err == nil {
		t.Error("a build that was cancelled got a context")
	}
}
