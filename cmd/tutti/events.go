package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
	"tutti/scheduler/api"
)

func (a *app) eventsCommand() *cobra.Command {
	var asJSON bool
	var since, until string
	cmd := &cobra.Command{
		Use:         "events [OPTIONS] [SERVICE...]",
		Short:       "Receive real time events from containers",
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, services []string) error {
			_, name, err := a.projectOrName(ctx, services)
			if err != nil {
				return err
			}
			w := eventWatch{project: name, emit: func(m events.Message) error { return a.printEvent(m, services, asJSON) }}
			now := time.Now()
			if w.since, err = api.ParseTime(since, now); err != nil {
				return fmt.Errorf("invalid --since value %q: %w", since, err)
			}
			if w.until, err = api.ParseTime(until, now); err != nil {
				return fmt.Errorf("invalid --until value %q: %w", until, err)
			}
			if w.client, err = a.connect(ctx); err != nil {
				return err
			}
			return w.run(ctx)
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "Output events as a stream of json objects")
	f.StringVar(&since, "since", "", "Show all events created since timestamp")
	f.StringVar(&until, "until", "", "Stream events until this timestamp")
	return cmd
}

// eventWatch follows a project's events, over the end of one engine and the start of the next.
type eventWatch struct {
	client       *api.Client
	project      string
	since, until time.Time
	emit         func(events.Message) error
}

func (w *eventWatch) run(ctx context.Context) error {
	for {
		asked := time.Now()
		err := w.once(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !engineGone(err) {
			return err
		}
		if !w.until.IsZero() && !time.Now().Before(w.until) {
			return nil
		}
		if w.since.IsZero() {
			w.since = asked
		}
		if err := awaitEngine(ctx, w.client); err != nil {
			return err
		}
	}
}

// once reads events until the engine ends the stream, and moves w.since behind the last one.
func (w *eventWatch) once(ctx context.Context) error {
	filters, err := json.Marshal(map[string][]string{"label": {api.LabelProject + "=" + w.project}, "type": {"container"}})
	if err != nil {
		return err
	}
	q := url.Values{"filters": {string(filters)}}
	for key, t := range map[string]time.Time{"since": w.since, "until": w.until} {
		if !t.IsZero() {
			q.Set(key, fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()))
		}
	}
	body, err := w.client.Open(ctx, http.MethodGet, "/events?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	d := json.NewDecoder(bufio.NewReaderSize(body, 64<<10))
	for {
		var m events.Message
		if err := d.Decode(&m); err != nil {
			if errors.Is(err, io.EOF) {
				return io.EOF
			}
			return fmt.Errorf("events: the engine went away: %w", err)
		}
		w.since = time.Unix(0, m.TimeNano+1)
		if err := w.emit(m); err != nil {
			return err
		}
	}
}

// composeEvent is docker compose's `events --json`.
type composeEvent struct {
	Action     string            `json:"action"`
	Attributes map[string]string `json:"attributes"`
	ID         string            `json:"id"`
	Service    string            `json:"service"`
	Time       time.Time         `json:"time"`
	Type       string            `json:"type"`
}

// printEvent prints one event as docker compose does, without the labels of compose's own. Events of `run` are left out.
func (a *app) printEvent(m events.Message, services []string, asJSON bool) error {
	service := m.Actor.Attributes[api.LabelService]
	if m.Actor.Attributes[api.LabelOneOff] == "True" || len(services) > 0 && !slices.Contains(services, service) {
		return nil
	}
	attributes := map[string]string{}
	for k, v := range m.Actor.Attributes {
		if !strings.HasPrefix(k, "com.docker.compose.") {
			attributes[k] = v
		}
	}
	at := time.Unix(0, m.TimeNano)
	if asJSON {
		return listing.JSON(a.out, composeEvent{string(m.Action), attributes, m.Actor.ID, service, at, "container"}, "")
	}
	pairs := make([]string, 0, len(attributes))
	for _, k := range sortedKeys(attributes) {
		pairs = append(pairs, k+"="+attributes[k])
	}
	_, err := fmt.Fprintf(a.out, "%s container %s %s (%s)\n", at.Format("2006-01-02 15:04:05.000000"), m.Action, m.Actor.ID, strings.Join(pairs, ", "))
	return err
}
