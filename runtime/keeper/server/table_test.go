package server

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// TestRegisterClaims: an exit that was reaped before its registration must be claimed by it only if the process
// is really gone, for pids are reused.
func TestRegisterClaims(t *testing.T) {
	old, late := status{code: 1, at: 10}, status{code: 137, signal: 9, at: 20}
	gone := func(int) bool { return false }
	alive := func(int) bool { return true }
	tests := []struct {
		name    string
		before  func(*table)
		isChild func(int) bool
		want    error
		exited  bool
		end     status
	}{
		{"runs", func(*table) {}, alive, nil, false, status{}},
		{"ended before its registration", func(k *table) { k.reaped(7, old) }, gone, nil, true, old},
		{"an orphan of the same pid had ended", func(k *table) { k.reaped(7, old) }, alive, nil, false, status{}},
		{"the latest of several counts", func(k *table) { k.reaped(7, old); k.reaped(8, old); k.reaped(7, late) }, gone, nil, true, late},
		{"not a child at all", func(k *table) { k.reaped(8, old) }, gone, errNoChild, false, status{}},
		{"pid belongs to another id", func(k *table) { mustRegister(t, k, "b", 7) }, alive, errPIDTaken, false, status{}},
		{"pid belonged to another id", func(k *table) { mustRegister(t, k, "b", 7); k.reaped(7, old) }, alive, nil, false, status{}},
		{"id has another process", func(k *table) { mustRegister(t, k, "a", 6) }, alive, errRegistered, false, status{}},
		{"id had another process", func(k *table) { mustRegister(t, k, "a", 6); k.reaped(6, old) }, alive, errRegistered, false, status{}},
		{"again by a new engine", func(k *table) { mustRegister(t, k, "a", 7) }, alive, nil, false, status{}},
		{"again after its end", func(k *table) { mustRegister(t, k, "a", 7); k.reaped(7, late) }, gone, nil, true, late},
		{"released and started again", func(k *table) {
			mustRegister(t, k, "a", 6)
			k.reaped(6, old)
			k.release("a")
		}, alive, nil, false, status{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newTable()
			tt.before(&k)
			e, err := k.register("a", 7, 99, tt.isChild)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			if e.exited != tt.exited || e.end != tt.end || e.token != 99 {
				t.Errorf("got %+v", e)
			}
			if _, again := k.claim(7); again {
				t.Error("an exit of this pid is left for the next process")
			}
		})
	}
}

func mustRegister(t *testing.T, k *table, id string, pid int) {
	t.Helper()
	if _, err := k.register(id, pid, 1, func(int) bool { return true }); err != nil {
		t.Fatal(err)
	}
}

// TestUnclaimedIsBounded: orphans that nobody asks for must not fill the memory, and the latest stay known.
func TestUnclaimedIsBounded(t *testing.T) {
	k := newTable()
	for pid := 1; pid <= 3*unclaimedExits; pid++ {
		k.reaped(pid, status{code: byte(pid)})
	}
	if _, found := k.claim(2 * unclaimedExits); found {
		t.Error("an exit older than the limit is kept")
	}
	if end, found := k.claim(2*unclaimedExits + 1); !found || end.code != 1 {
		t.Errorf("the oldest within the limit: %v, %v", end, found)
	}
}

func TestHoldAndRelease(t *testing.T) {
	k := newTable()
	if replaced := k.hold("a", []file{{"out", 4}, {"err", 5}}); replaced != nil {
		t.Errorf("replaced %v", replaced)
	}
	if replaced := k.hold("a", []file{{"out", 6}, {"dns", 7}}); !slices.Equal(replaced, []int{4}) {
		t.Errorf("replaced %v, want the old out", replaced)
	}
	mustRegister(t, &k, "a", 3)
	if fds := k.release("a"); !slices.Equal(fds, []int{6, 5, 7}) {
		t.Errorf("released %v", fds)
	}
	if fds := k.release("a"); fds != nil {
		t.Errorf("released twice: %v", fds)
	}
	if e := k.reaped(3, status{}); e != nil {
		t.Errorf("the exit of a released process goes to %+v", e)
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	lived := []time.Duration{time.Hour, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, time.Second, 0}
	want := []time.Duration{0, 0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 0, 0}
	for i := range lived {
		if got := b.after(lived[i], false); got != want[i]*time.Millisecond {
			t.Errorf("death %d after %s: restart in %s, want %s", i, lived[i], got, want[i]*time.Millisecond)
		}
		if got := b.after(0, true); got != 0 {
			t.Errorf("killed while it served: restart in %s", got)
		}
	}
}
