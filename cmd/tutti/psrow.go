package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"tutti/cmd/tutti/listing"
	"tutti/scheduler/api"
)

// composeRow is a container as `docker compose ps` shows it to templates and in JSON: the same fields in the same order.
type composeRow struct {
	Command      string
	CreatedAt    string
	ExitCode     int
	Health       string
	ID           string
	Image        string
	Labels       string
	LocalVolumes string
	Mounts       string
	Name         string
	Names        string
	Networks     string
	Ports        string
	Project      string
	Publishers   []api.Publisher
	RunningFor   string
	Service      string
	Size         string
	State        string
	Status       string

	labels map[string]string
}

// Label is the value of one label, for templates.
func (r composeRow) Label(name string) string { return r.labels[name] }

var composeHeaders = listing.Headers{
	"ID": "CONTAINER ID", "Name": "NAME", "Names": "NAMES", "Project": "PROJECT", "Service": "SERVICE", "Image": "IMAGE",
	"Command": "COMMAND", "CreatedAt": "CREATED AT", "RunningFor": "CREATED", "Ports": "PORTS", "State": "STATE",
	"Status": "STATUS", "Size": "SIZE", "Labels": "LABELS", "ExitCode": "EXIT CODE", "Health": "HEALTH", "Mounts": "MOUNTS",
	"LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS", "Publishers": "PUBLISHERS",
}

func newComposeRow(c api.Container, truncate bool) composeRow {
	command, id, mounts := api.CommandLine(c.Command), c.ID, slices.Clone(c.Mounts)
	if truncate {
		command, id = listing.Ellipsis(command, 20), listing.ShortID(id)
		for i, m := range mounts {
			mounts[i] = listing.Ellipsis(m, 15)
		}
	}
	publishers := c.Publishers
	if publishers == nil {
		publishers = []api.Publisher{}
	}
	return composeRow{
		Command: strconv.Quote(command), CreatedAt: c.Created.Truncate(time.Second).Local().String(), ExitCode: c.ExitCode,
		Health: c.Health, ID: id, Image: c.Image, Labels: listing.Labels(c.Labels), LocalVolumes: strconv.Itoa(namedVolumes(c.Mounts)),
		Mounts: strings.Join(mounts, ","), Name: c.Name, Names: c.Name, Networks: strings.Join(sortedKeys(c.Networks), ","),
		Ports: publishedPorts(c.Publishers), Project: c.Project, Publishers: publishers,
		RunningFor: listing.Ago(c.Created, time.Now()), Service: c.Service, Size: "0B", State: c.State, Status: c.Status,
		labels: c.Labels,
	}
}

// namedVolumes counts the mounts that are volumes: those have names, binds have paths.
func namedVolumes(mounts []string) (n int) {
	for _, m := range mounts {
		if !strings.HasPrefix(m, "/") {
			n++
		}
	}
	return n
}

func publishedPorts(all []api.Publisher) string {
	ports := make([]listing.Port, 0, len(all))
	for _, p := range all {
		ports = append(ports, listing.Port{Host: p.URL, Public: p.PublishedPort, Container: p.TargetPort, Proto: p.Protocol})
	}
	return listing.Ports(ports)
}
