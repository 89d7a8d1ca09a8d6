package access

import (
	"context"
	"errors"
	"testing"
)

// Users share a gate, unless one wants to be alone; closing it ends them all and keeps others out.
func TestAccessGate(t *testing.T) {
	t.Parallel()
	var g Gate
	first, leaveFirst, err := g.Enter(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	_, leaveSecond, err := g.Enter(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan func())
	go func() {
		_, leave, err := g.Enter(t.Context(), true)
		if err != nil {
			t.Error(err)
		}
		entered <- leave
	}()
	leaveSecond()
	select {
	case <-entered:
		t.Error("somebody is alone with another one")
	default:
	}
	leaveFirst()
	leaveAlone := <-entered
	if first.Err() == nil {
		t.Error("the context lives longer than the visit")
	}

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := g.Enter(cancelled, false); !errors.Is(err, context.Canceled) {
		t.Errorf("entering beside one who is alone: %v", err)
	}
	leaveAlone()

	inner, leave, err := g.Enter(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-inner.Done()
		if !errors.Is(context.Cause(inner), ErrInterrupted) {
			t.Errorf("the cause is %v", context.Cause(inner))
		}
		leave()
	}()
	open := g.Close()
	if _, _, err := g.Enter(cancelled, false); !errors.Is(err, context.Canceled) {
		t.Errorf("entering a closed gate: %v", err)
	}
	open()
	if _, leave, err = g.Enter(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	leave()
}
