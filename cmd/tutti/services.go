package main

import (
	"context"

	"tutti/scheduler/api"
)

// services carries out start, stop, restart or kill.
func (a *app) services(ctx context.Context, verb string, request api.ServicesRequest) error {
	p, name, err := a.projectOrName(ctx, request.Services)
	if err != nil {
		return err
	}
	if request.Project, err = encode(p); err != nil {
		return err
	}
	request.Name, request.DryRun = name, a.dryRun
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	return a.verb(ctx, c, verb, request, displayOptions{})
}
