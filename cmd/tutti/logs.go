package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/logview"
	"tutti/project"
	"tutti/scheduler/api"
)

type logsFlags struct {
	follow, noColor, noPrefix, timestamps bool
	index                                 int
	tail, since, until                    string
}

func (a *app) logsCommand() *cobra.Command {
	var f logsFlags
	cmd := &cobra.Command{
		Use:         "logs [OPTIONS] [SERVICE...]",
		Short:       "View output from containers",
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, services []string) error {
			if len(services) == 0 {
				services = nil
			}
			o, err := f.options(services, time.Now())
			if err != nil {
				return err
			}
			p, name, err := a.projectOrName(ctx, nil)
			if err != nil {
				return err
			}
			if err := knownServices(p, services); err != nil {
				return err
			}
			if p != nil && len(services) == 0 {
				o.Services = shownServices(p)
			}
			return a.printLogs(ctx, name, o, &f)
		}),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "Follow log output")
	flags.IntVar(&f.index, "index", 0, "index of the container if service has multiple replicas")
	flags.StringVar(&f.since, "since", "", "Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)")
	flags.StringVar(&f.until, "until", "", "Show logs before a timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)")
	flags.BoolVar(&f.noColor, "no-color", false, "Produce monochrome output")
	flags.BoolVar(&f.noPrefix, "no-log-prefix", false, "Don't print prefix in logs")
	flags.BoolVarP(&f.timestamps, "timestamps", "t", false, "Show timestamps")
	flags.StringVarP(&f.tail, "tail", "n", "all", "Number of lines to show from the end of the logs for each container")
	return cmd
}

// shownServices are the services whose logs are shown when none is named: those without `attach: false`. When that is all
// of them, nil, so that containers of services that have left the file are shown too.
func shownServices(p *project.Project) []string {
	var names []string
	for name, s := range p.Services {
		if s.Attach == nil || *s.Attach {
			names = append(names, name)
		}
	}
	if len(names) == len(p.Services) {
		return nil
	}
	return names
}

func (f *logsFlags) options(services []string, now time.Time) (api.LogOptions, error) {
	o := api.LogOptions{Services: services, Index: f.index, Tail: -1, Follow: f.follow}
	if f.index > 0 && len(services) != 1 {
		return o, errors.New("--index requires one service to be selected")
	}
	if f.tail != "all" && f.tail != "" {
		n, err := strconv.Atoi(f.tail)
		if err != nil {
			return o, fmt.Errorf("invalid --tail value %q: give a number or \"all\"", f.tail)
		}
		o.Tail = max(n, -1)
	}
	var err error
	if o.Since, err = api.ParseTime(f.since, now); err != nil {
		return o, fmt.Errorf("invalid --since value %q: %w", f.since, err)
	}
	if o.Until, err = api.ParseTime(f.until, now); err != nil {
		return o, fmt.Errorf("invalid --until value %q: %w", f.until, err)
	}
	return o, nil
}

// printLogs prints what the engine sends. Following ends when the last container has stopped for good.
func (a *app) printLogs(ctx context.Context, name string, o api.LogOptions, f *logsFlags) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	all, err := c.Containers(ctx, name)
	if err != nil {
		return err
	}
	chosen := (&psFlags{all: true, orphans: true}).choose(all, o.Services)
	chosen = slices.DeleteFunc(chosen, func(c api.Container) bool { return o.Index > 0 && c.Number != o.Index })
	if o.Services != nil {
		// Only those that have containers: the engine knows no others, and it is no error to have none.
		o.Services = servicesOf(chosen)
		if len(o.Services) == 0 {
			return nil
		}
	}
	alive := map[string]bool{}
	out := bufio.NewWriterSize(a.out, 64<<10)
	p := logview.New(logview.Options{
		Project: name, Out: out, Err: out, Color: !f.noColor && a.colorful(a.out),
		Erase: a.colorful(a.out), NoPrefix: f.noPrefix, Timestamps: f.timestamps,
	})
	for _, c := range chosen {
		p.Expect(logview.Name(name, c.Service, c.Name, c.Number)) // in order: colours do not depend on who speaks first
		if slices.Contains(liveStates, c.State) {
			alive[c.ID] = true
		}
	}
	o.Follow = o.Follow && len(alive) > 0
	o.Events = o.Follow
	err = pump(ctx, c, name, o, p, out, alive)
	p.Flush()
	return errors.Join(err, out.Flush())
}

// pump takes frames to the printer until their end, or until nothing is alive any more.
func pump(ctx context.Context, c *api.Client, name string, o api.LogOptions, p *logview.Printer, out *bufio.Writer, alive map[string]bool) error {
	ctx, cancel := context.WithCancel(ctx)
	logs, err := followLogs(ctx, c, name, o)
	if err != nil {
		cancel()
		return err
	}
	defer logs.wait()
	defer cancel()
	for frame := range logs.ch {
		switch frame.Event {
		case "":
			p.Line(frame)
		case "start":
			alive[frame.ID] = true
		case "exit", "ended": // the second is the end of one that ran a moment ago, of which the first may tell too
			if alive[frame.ID] {
				p.Exit(frame)
			}
			if !frame.Restart {
				delete(alive, frame.ID)
			}
		case "removed":
			delete(alive, frame.ID)
		}
		if o.Follow && len(alive) == 0 {
			return nil
		}
		if len(logs.ch) == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
	return logs.err
}

// servicesOf are the services of containers, each once.
func servicesOf(containers []api.Container) []string {
	set := map[string]bool{}
	for _, c := range containers {
		set[c.Service] = true
	}
	return sortedKeys(set)
}
