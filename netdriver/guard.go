package netdriver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	restorePause  = time.Second // between two times that rules are put back, should somebody go on removing them
	keptIncidents = 8
)

// guard keeps the rules in force while others change the firewall.
type guard struct {
	once sync.Once
	work sync.WaitGroup

	mu        sync.Mutex
	incidents []Incident
	suspect   string // who has just changed something
}

// Incident is that somebody had taken rules of ours away, which were put back.
type Incident struct {
	At  time.Time
	Who string // "iptables (process 1234)"; empty: not known
}

func (i Incident) String() string {
	who := i.Who
	if who == "" {
		who = "somebody"
	}
	return fmt.Sprintf("at %s %s had removed firewall rules of the networks and published ports; they were put back", i.At.Local().Format(time.DateTime), who)
}

// watchRules begins to watch the firewall, once.
func (d *Driver) watchRules() {
	d.guard.once.Do(func() {
		d.guard.work.Go(func() {
			if err := d.firewall.Watch(d.life, d.restoreRules); err != nil {
				d.log.Warn("rules that others remove will be put back with the next change only", "error", err)
			}
		})
	})
}

// restoreRules puts the rules back if they are not as they should be.
func (d *Driver) restoreRules(who string) {
	d.guard.mu.Lock()
	d.guard.suspect = who
	d.guard.mu.Unlock()
	if _, err := d.CheckFirewall(d.life); err != nil && !errors.Is(err, context.Canceled) {
		d.log.Error("put firewall rules back", "error", err)
	}
	d.guard.mu.Lock()
	d.guard.suspect = ""
	d.guard.mu.Unlock()
	pause := time.NewTimer(restorePause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-d.life.Done():
	}
}

// CheckFirewall puts rules back that somebody has removed, and returns when that has happened lately, the last time last.
func (d *Driver) CheckFirewall(ctx context.Context) ([]Incident, error) {
	d.mu.Lock()
	networks := len(d.networks)
	d.mu.Unlock()
	var err error
	if networks > 0 {
		err = d.rules.sync(ctx)
	}
	d.guard.mu.Lock()
	defer d.guard.mu.Unlock()
	return slices.Clone(d.guard.incidents), err
}

// note remembers that rules were put back.
func (g *guard) note(log *slog.Logger) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := Incident{time.Now(), g.suspect}
	log.Warn("firewall rules were put back", "reason", i.String())
	g.incidents = append(g.incidents, i)
	g.incidents = g.incidents[max(0, len(g.incidents)-keptIncidents):]
}
