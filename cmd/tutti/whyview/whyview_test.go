package whyview

import (
	"bytes"
	"testing"
	"time"

	"tutti/scheduler/api"
)

func TestPrint(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 20, 12, 0, 0, 0, time.Local)
	before := func(d time.Duration) time.Time { return now.Add(-d) }
	cause := "killed by the kernel for want of memory: its limit is 64MiB, it had 64MiB"
	report := api.Why{Project: "demo", At: now, Services: []api.ServiceWhy{
		{Service: "db", Verdict: api.VerdictOK, Summary: "running for 3 minutes", Containers: []api.ContainerWhy{{Name: "demo-db-1", Status: "Up 3 minutes", Summary: "running for 3 minutes"}}},
		{
			Service: "worker", Verdict: api.VerdictFailed, Summary: cause + ", 1 minute ago",
			Failure: &api.Failure{Verb: "up", At: before(2 * time.Minute), Text: "first\nsecond\x1b[2J"},
			Waits:   []api.Wait{{Service: "db", Condition: "service_healthy", Met: true, State: "Up 3 minutes"}},
			Ports:   []api.PortHolder{{Port: "8080/tcp", Holder: "container shop-web-1", Project: "shop", Service: "web"}, {Port: "1/udp", Holder: "process 7 (x)"}},
			Containers: []api.ContainerWhy{{
				Name: "demo-worker-1", Status: "Exited (137) 1 minute ago", Summary: cause + ", 1 minute ago",
				Exit:   &api.Exit{Code: 137, Signal: "SIGKILL", At: before(time.Minute), Ran: 12 * time.Second, Cause: cause, OOM: &api.OOM{Limit: 64 << 20, Peak: 64 << 20}},
				Probes: []api.Probe{{At: before(70 * time.Second), Took: 20 * time.Millisecond, Code: 1, Output: "refused\n"}},
				Log:    []api.Line{{At: before(61 * time.Second), Text: "working\x07"}},
			}},
			Path: []api.PathStep{{What: "pull image w:1", Took: 2 * time.Second}, {What: "start container demo-worker-1", After: 2 * time.Second, Took: 40 * time.Millisecond}},
		},
	}}
	var out bytes.Buffer
	if err := Print(&out, report, false); err != nil {
		t.Fatal(err)
	}
	want := `db      ok: running for 3 minutes
worker  failed: killed by the kernel for want of memory: its limit is 64MiB, it had 64MiB, 1 minute ago
    ` + "`up`" + ` failed for it 2 minutes ago:
        first
        second?[2J
    depends on db to be healthy: yes (Up 3 minutes)
    port 8080/tcp of the host is held by container shop-web-1 (service web of project shop)
    port 1/udp of the host is held by process 7 (x)
    container demo-worker-1: Exited (137) 1 minute ago
      it ended with exit code 137 at 2026-05-20 11:59:00, after 12s
      memory: limit 64MiB, at most in use 64MiB
      last probes:
        11:58:50  ended with 1 after 20ms
          refused
      last lines:
        11:58:59 | working?
    its last start took 2.04s:
            2s  pull image w:1
          40ms  start container demo-worker-1
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
