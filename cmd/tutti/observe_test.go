package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"

	"tutti/scheduler/api"
)

func TestStats(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("0123456789abcdef", 4)
	c := newCLI(t).compose("services: {web: {image: x}}\n")
	c.answer(api.Prefix+"/projects/demo/stats", []api.Usage{
		{ID: id, Name: "demo-web-1", Running: true, CPUPercent: 49.987, Memory: 1 << 20, MemoryLimit: 64 << 20, MemoryPercent: 1.5625, NetRx: 5_242_880, NetTx: 806, BlockWrite: 4096, Pids: 3},
		{ID: id, Name: "demo-web-2"},
	})
	c.run("stats", "--no-stream").expect(t, 0, `CONTAINER ID   NAME         CPU %     MEM USAGE / LIMIT   MEM %     NET I/O         BLOCK I/O    PIDS
0123456789ab   demo-web-1   49.99%    1MiB / 64MiB        1.56%     5.24MB / 806B   0B / 4.1kB   3
0123456789ab   demo-web-2   0.00%     0B / 0B             0.00%     0B / 0B         0B / 0B      0
`, "")
	c.run("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.Name}} {{.PIDs}}").expect(t, 0, id+" demo-web-1 3\n"+id+" demo-web-2 0\n", "")
	r := c.run("stats", "--no-stream", "--format", "json")
	want := `{"BlockIO":"0B / 4.1kB","CPUPerc":"49.99%","Container":"` + id + `","ID":"0123456789ab","MemPerc":"1.56%","MemUsage":"1MiB / 64MiB","Name":"demo-web-1","NetIO":"5.24MB / 806B","PIDs":"3"}`
	if first, _, _ := strings.Cut(r.out.String(), "\n"); first != want {
		t.Errorf("got  %s\nwant %s", first, want)
	}
}

// An engine that goes away must not end the events, and none may come twice.
func TestEventsGoOn(t *testing.T) {
	t.Parallel()
	c := newCLI(t).compose("services: {web: {image: x}}\n")
	at := time.Date(2026, 5, 20, 12, 0, 0, 123456789, time.UTC)
	message := func(action events.Action, n int) events.Message {
		return events.Message{Type: "container", Action: action, TimeNano: at.Add(time.Duration(n) * time.Second).UnixNano(), Actor: events.Actor{
			ID: "abc", Attributes: map[string]string{"name": "demo-web-1", "image": "x", api.LabelService: "web", api.LabelProject: "demo"},
		}}
	}
	asked := make(chan string, 4)
	c.mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		since := r.URL.Query().Get("since")
		asked <- since
		if since == "" {
			writeJSON(w, message("create", 0))
			writeJSON(w, message("start", 1))
			return // the engine goes away
		}
		writeJSON(w, message("die", 2))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	r, wait := c.start("events")
	r.out.await(t, " die ")
	c.signals <- nil
	wait()
	line := func(second, action string) string {
		return at.Local().Format("2006-01-02 15:04:") + second + ".123456 container " + action + " abc (image=x, name=demo-web-1)\n"
	}
	if want := line("00", "create") + line("01", "start") + line("02", "die"); r.out.String() != want || r.code != 130 {
		t.Errorf("exit code %d, printed\n%s\nwant\n%s", r.code, r.out.String(), want)
	}
	if first, second := <-asked, <-asked; first != "" || second != "1779278401.123456790" {
		t.Errorf("asked since %q and %q", first, second)
	}
}

func TestEventsJSON(t *testing.T) {
	t.Parallel()
	c := newCLI(t).compose("services: {web: {image: x}}\n")
	var filters string
	c.mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		filters = r.URL.Query().Get("filters")
		for service, oneOff := range map[string]string{"web": "False", "job": "True"} {
			writeJSON(w, events.Message{Type: "container", Action: "die", TimeNano: 1, Actor: events.Actor{
				ID: "abc", Attributes: map[string]string{"exitCode": "3", api.LabelService: service, api.LabelOneOff: oneOff},
			}})
		}
	})
	r := c.run("events", "--json", "--until", "2020-01-01")
	var e composeEvent
	if err := json.Unmarshal([]byte(r.out.String()), &e); err != nil || e.Action != "die" || e.Service != "web" || e.Attributes["exitCode"] != "3" || len(e.Attributes) != 1 {
		t.Errorf("exit code %d: %s %s", r.code, r.out.String(), r.err.String())
	}
	if want := `{"label":["com.docker.compose.project=demo"],"type":["container"]}`; filters != want {
		t.Errorf("the filters are %s", filters)
	}
}

func TestTop(t *testing.T) {
	t.Parallel()
	c := newCLI(t).compose("services: {web: {image: x}}\n")
	titles := []string{"UID", "PID", "CMD"}
	c.answer(api.Prefix+"/projects/demo/top", []api.Processes{
		{Container: "demo-db-1", Service: "db", Number: 1, Titles: titles},
		{Container: "demo-web-1", Service: "web", Number: 1, Titles: titles, Rows: [][]string{{"root", "7", "sleep 1"}, {"1234", "12345", "x"}}},
	})
	c.run("top").expect(t, 0, "SERVICE  #   UID   PID    CMD\nweb      1   root  7      sleep 1\nweb      1   1234  12345  x\n", "")
}

func TestWhyExitCodes(t *testing.T) {
	t.Parallel()
	for verdicts, want := range map[string]int{"ok": 0, "ok absent": 0, "ok waiting": 3, "waiting failed": 2, "stopped": 2, "paused ok": 2} {
		var report api.Why
		for v := range strings.FieldsSeq(verdicts) {
			report.Services = append(report.Services, api.ServiceWhy{Service: v, Verdict: api.Verdict(v), Summary: "so it is"})
		}
		c := newCLI(t).compose("services: {web: {image: x}}\n")
		c.answer(api.Prefix+"/projects/demo/why", report)
		if r := c.run("why"); r.code != want || !strings.Contains(r.out.String(), ": so it is\n") {
			t.Errorf("%s: exit code %d, want %d: %s%s", verdicts, r.code, want, r.out.String(), r.err.String())
		}
	}
	newCLI(t).compose("services: {web: {image: x}}\n").run("why", "--format", "xml").expect(t, 1, "", "format value \"xml\" could not be parsed: parsing failed\n")
}

func TestRemoveAsks(t *testing.T) {
	t.Parallel()
	for answer, removes := range map[string]bool{"y\n": true, "yes\n": true, "n\n": false, "\n": false, "": false} {
		c := newCLI(t).compose("services: {web: {image: x}, db: {image: x}}\n")
		c.in = answer
		c.answer(api.Prefix+"/projects/demo/containers", []api.Container{
			{Name: "demo-web-1", Service: "web", State: "exited"}, {Name: "demo-db-1", Service: "db", State: "running"}, {Name: "demo-old-1", Service: "old", State: "exited"},
		})
		var q api.ServicesRequest
		c.verb("rm", &q)
		r := c.run("rm", "-v")
		if r.out.String() != "Going to remove demo-web-1" || r.code != 0 || (q.Name == "demo" && q.Volumes) != removes {
			t.Errorf("%q: exit code %d, %q, request %+v", answer, r.code, r.out.String(), q)
		}
	}
}
