package netdriver

import (
	"net/netip"
	"os/exec"
	"sync"
	"testing"
)

// A port that was just given back is to be had, however many programs the process is starting at that moment.
func TestPortsBesideForks(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	stop := make(chan struct{})
	var forks sync.WaitGroup
	defer forks.Wait()
	defer close(stop)
	for range 2 {
		forks.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := exec.CommandContext(t.Context(), "true").Run(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range 2000 {
		socket, err := d.listen("tcp", netip.MustParseAddrPort("0.0.0.0:80"))
		if err != nil {
			t.Fatalf("the %dth time: %v", n, err)
		}
		socket.Close()
	}
}
