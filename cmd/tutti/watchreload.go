package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"tutti/project"
	"tutti/project/watching"
)

// reload reads the compose files anew. When they are not in order that is said, and the model from before stays in force.
func (w *watchSession) reload(ctx context.Context, changed []string) {
	p, err := w.a.load(ctx, w.o.services)
	var set *watching.Set
	if err == nil {
		set, err = watching.New(p, w.o.services)
	}
	if err == nil && p.Name != w.p.Name {
		err = fmt.Errorf("the project is named %q now: end the watch and begin it anew", p.Name)
	}
	if err == nil {
		err = w.tree.Reset(ctx, selection(p, set))
	}
	if err != nil {
		if ctx.Err() == nil {
			w.o.above(func() { w.a.printError(err.Error()) })
			w.o.say("What was there before stays in force until the files are in order")
		}
		w.broken = true
		return
	}
	for _, text := range set.Warnings {
		if !slices.Contains(w.set.Warnings, text) {
			w.warn(text)
		}
	}
	changes := modelChanges(w.p, p)
	if len(changes) > 0 {
		for i, f := range changed {
			changed[i] = filepath.Base(f)
		}
		w.o.say(fmt.Sprintf("Applying changes of %s: %s", strings.Join(changed, ", "), strings.Join(changes, "; ")))
		w.next = p
	} else if w.broken {
		w.o.say("The files are in order again")
	}
	w.broken = false
	if len(changes) == 0 {
		w.p = p
	}
	w.set = set
	w.queue.Retain(set.Services)
}

// apply brings up what the compose files say now, as `up` does.
func (w *watchSession) apply(ctx context.Context) {
	w.p, w.next, w.applying = w.next, nil, true
	w.tell(ctx, true)
	t := watchTask{a: w.a, c: w.c, o: w.o, p: w.p}
	w.tasks.Go(func() {
		t.told(ctx, t.apply(ctx, w.o.services))
		w.end(ctx, taskEnd{})
	})
}

// modelChanges says by name what is different in a model.
func modelChanges(last, next *project.Project) []string {
	var changes []string
	for _, c := range project.Changes(last, next) {
		text := c.Kind + " " + c.Name
		switch {
		case c.Added:
			text += " is new"
		case c.Removed && c.Kind == "service":
			text += " is not there any more, its containers stay (`up --remove-orphans` removes them)"
		case c.Removed:
			text += " is not there any more"
		default:
			text += " has changed (" + strings.Join(c.Keys, ", ") + ")"
		}
		changes = append(changes, text)
	}
	return changes
}
