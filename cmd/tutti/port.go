package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tutti/cmd/tutti/listing"
	"tutti/scheduler/api"
)

func (a *app) portCommand() *cobra.Command {
	var protocol, format string
	var index int
	cmd := &cobra.Command{
		Use:         "port [OPTIONS] SERVICE [PRIVATE_PORT]",
		Short:       "List port mappings or print the public port for a specific mapping for the service",
		Args:        cobra.RangeArgs(1, 2),
		Annotations: heeds(readsOnly),
		RunE: a.run(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			var port uint64
			protocol := strings.ToLower(protocol)
			if len(args) > 1 {
				var err error
				if port, err = strconv.ParseUint(args[1], 10, 16); err != nil {
					return err
				}
			} else if !cmd.Flags().Changed("protocol") {
				protocol = ""
			}
			_, all, err := a.projectContainers(ctx)
			if err != nil {
				return err
			}
			target, err := execTarget(all, args[0], index)
			if err != nil {
				return err
			}
			found := mappings(target.Publishers, int(port), protocol)
			if port != 0 && len(found) == 0 {
				return noPort(target, int(port), protocol)
			}
			return a.printPorts(found, port != 0, format)
		}),
	}
	cmd.Flags().StringVar(&protocol, "protocol", "tcp", "tcp or udp")
	cmd.Flags().IntVar(&index, "index", 0, "Index of the container if service has multiple replicas")
	cmd.Flags().StringVar(&format, "format", "", "Format the output. Values: [json]")
	return cmd
}

// mappings are the ports of a container that match, by container port. Port 0 and protocol "" match all.
func mappings(all []api.Publisher, port int, protocol string) []api.Publisher {
	var found []api.Publisher
	for _, p := range all {
		if (protocol == "" || p.Protocol == protocol) && (port == 0 || p.TargetPort == port) {
			found = append(found, p)
		}
	}
	slices.SortStableFunc(found, func(a, b api.Publisher) int { return cmp.Compare(a.TargetPort, b.TargetPort) })
	return found
}

func (a *app) printPorts(found []api.Publisher, one bool, format string) error {
	if format == "json" {
		if found == nil {
			found = []api.Publisher{}
		}
		return listing.JSON(a.out, found, "")
	}
	if format != "" {
		return fmt.Errorf("format value %q could not be parsed: parsing failed", format)
	}
	for _, p := range found {
		host := net.JoinHostPort(p.URL, strconv.Itoa(p.PublishedPort))
		if one {
			fmt.Fprintln(a.out, host)
			return nil
		}
		fmt.Fprintf(a.out, "%d/%s -> %s\n", p.TargetPort, p.Protocol, host)
	}
	return nil
}

func noPort(c api.Container, port int, protocol string) error {
	var has []string
	for _, p := range c.Publishers {
		has = append(has, fmt.Sprintf("%d/%s", p.TargetPort, p.Protocol))
	}
	return fmt.Errorf("no port %d/%s for container %s: %s", port, protocol, c.Name, strings.Join(has, ", "))
}
