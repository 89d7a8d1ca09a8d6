package samples

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Many services on one network come up, find one another and go; one more than a bridge connects is refused before anything
// is made. `make scale` does it with 500.
func TestScale(t *testing.T) {
	t.Parallel()
	count := 40
	if n, err := strconv.Atoi(os.Getenv("TUTTI_SCALE")); err == nil {
		count = n
	}
	s := newBusyboxSite(t)
	s.waitUntilIdle()
	before := s.host.snapshot()
	var file strings.Builder
	file.WriteString("services:\n")
	for i := range count {
		fmt.Fprintf(&file, "  s%d: {image: busybox, command: sleep 100000, init: true, stop_grace_period: 0s}\n", i)
	}
	s.write("compose.yaml", file.String())
	began := time.Now()
	s.must("-p", "many", "up", "-d")
	t.Logf("%d services up after %v", count, time.Since(began).Round(time.Millisecond))
	if got := strings.Count(s.must("-p", "many", "ps", "--format", "{{.State}}\n"), "running"); got != count {
		t.Errorf("%d of %d run", got, count)
	}
	last := "s" + strconv.Itoa(count-1)
	if r := s.run("-p", "many", "exec", "-T", "s0", "ping", "-c", "1", "-W", "30", last); r.code != 0 {
		t.Errorf("s0 does not reach %s: %s", last, r)
	}
	began = time.Now()
	s.must("-p", "many", "down")
	t.Logf("and down after %v", time.Since(began).Round(time.Millisecond))

	s.write("compose.yaml", "services:\n  web:\n    image: busybox\n    networks: [front]\n    scale: 1024\nnetworks: {front: {}}\n")
	r := s.run("-p", "more", "up", "-d")
	if r.code == 0 || !strings.Contains(r.stderr, `compose.yaml:4: service "web": `) || !strings.Contains(r.stderr, "network more_front would have 1024 containers, and it connects 1023 at most: use a second network") {
		t.Errorf("one too many: %s", r)
	}
	s.mustBeEmpty("more")
	s.mustBeAs(before)
}
