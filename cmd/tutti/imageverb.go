package main

import (
	"context"
	"encoding/json"

	"tutti/project"
)

// imageVerb carries out a verb about the images of services: the model is loaded, ask makes the request of it as it travels,
// and the progress is shown.
func (a *app) imageVerb(ctx context.Context, verb string, services []string, quiet bool, ask func(p *project.Project, model json.RawMessage) any) error {
	p, err := a.loadLoud(ctx, services)
	if err != nil {
		return err
	}
	model, err := p.Encode()
	if err != nil {
		return err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	return a.verb(ctx, c, verb, ask(p, model), displayOptions{quiet: quiet})
}
