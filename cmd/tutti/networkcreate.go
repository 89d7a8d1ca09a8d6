package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"
)

// networkCreateFlags are docker's.
type networkCreateFlags struct {
	driver, scope              string
	internal, attachable       bool
	configOnly, ingress        bool
	configFrom                 string
	ipv4, ipv6                 bool
	subnets, ranges, gateways  []string
	auxiliary, options, labels []string
	ipamDriver                 string
	ipamOptions                []string
}

func (a *app) networkCreateCommand() *cobra.Command {
	var f networkCreateFlags
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] NETWORK",
		Short: "Create a network",
		Args:  exactArgs(1),
		RunE: a.run(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			q := network.CreateRequest{
				Name: args[0], Driver: f.driver, Internal: f.internal, Attachable: f.attachable, Options: pairs(f.options), Labels: pairs(f.labels),
				Scope: f.scope, Ingress: f.ingress, ConfigOnly: f.configOnly,
			}
			if f.configFrom != "" {
				q.ConfigFrom = &network.ConfigReference{Network: f.configFrom}
			}
			if cmd.Flags().Changed("ipv4") {
				q.EnableIPv4 = &f.ipv4
			}
			if cmd.Flags().Changed("ipv6") {
				q.EnableIPv6 = &f.ipv6
			}
			pools, err := f.pools()
			if err != nil {
				return err
			}
			q.IPAM = &network.IPAM{Driver: f.ipamDriver, Options: pairs(f.ipamOptions), Config: pools}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			var made network.CreateResponse
			if err := c.Call(ctx, http.MethodPost, "/networks/create", q, &made); err != nil {
				return err
			}
			for warning := range strings.Lines(made.Warning) {
				a.warn(strings.TrimSpace(warning))
			}
			fmt.Fprintln(a.out, made.ID)
			return nil
		}),
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.driver, "driver", "d", "bridge", "Driver to manage the Network")
	flags.BoolVar(&f.internal, "internal", false, "Restrict external access to the network")
	flags.BoolVar(&f.attachable, "attachable", false, "Enable manual container attachment")
	flags.BoolVar(&f.ipv4, "ipv4", true, "Enable or disable IPv4 address assignment")
	flags.BoolVar(&f.ipv6, "ipv6", false, "Enable or disable IPv6 address assignment")
	flags.StringSliceVar(&f.subnets, "subnet", nil, "Subnet in CIDR format that represents a network segment")
	flags.StringSliceVar(&f.ranges, "ip-range", nil, "Allocate container ip from a sub-range")
	flags.StringSliceVar(&f.gateways, "gateway", nil, "IPv4 or IPv6 Gateway for the subnet")
	flags.StringArrayVar(&f.auxiliary, "aux-address", nil, "Auxiliary IPv4 or IPv6 addresses used by Network driver (NAME=ADDRESS)")
	flags.StringArrayVarP(&f.options, "opt", "o", nil, "Set driver specific options")
	flags.StringArrayVar(&f.labels, "label", nil, "Set metadata on a network")
	flags.StringVar(&f.ipamDriver, "ipam-driver", "default", "IP Address Management Driver")
	flags.StringVar(&f.scope, "scope", "", "Control the network's scope (local)")
	flags.StringArrayVar(&f.ipamOptions, "ipam-opt", nil, "Set IPAM driver specific options")
	flags.StringVar(&f.configFrom, "config-from", "", "The network from which to copy the configuration")
	flags.BoolVar(&f.configOnly, "config-only", false, "Create a configuration only network")
	flags.BoolVar(&f.ingress, "ingress", false, "Create swarm routing-mesh network, which is refused: there is no swarm")
	return cmd
}

// pools joins subnets with the ranges, gateways and further addresses that lie in them.
func (f *networkCreateFlags) pools() ([]network.IPAMConfig, error) {
	var pools []network.IPAMConfig
	for _, s := range f.subnets {
		subnet, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("--subnet %s: %w", s, err)
		}
		pools = append(pools, network.IPAMConfig{Subnet: subnet, AuxAddress: map[string]netip.Addr{}})
	}
	within := func(flag, text string, a netip.Addr) (*network.IPAMConfig, error) {
		for i := range pools {
			if pools[i].Subnet.Contains(a) {
				return &pools[i], nil
			}
		}
		return nil, fmt.Errorf("--%s %s lies in no --subnet", flag, text)
	}
	for _, r := range f.ranges {
		prefix, err := netip.ParsePrefix(r)
		if err != nil {
			return nil, fmt.Errorf("--ip-range %s: %w", r, err)
		}
		pool, err := within("ip-range", r, prefix.Addr())
		if err != nil {
			return nil, err
		}
		pool.IPRange = prefix
	}
	for _, g := range f.gateways {
		a, err := netip.ParseAddr(g)
		if err != nil {
			return nil, fmt.Errorf("--gateway %s: %w", g, err)
		}
		pool, err := within("gateway", g, a)
		if err != nil {
			return nil, err
		}
		pool.Gateway = a
	}
	for _, x := range f.auxiliary {
		name, text, _ := strings.Cut(x, "=")
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("--aux-address %s: give NAME=ADDRESS", x)
		}
		pool, err := within("aux-address", x, a)
		if err != nil {
			return nil, err
		}
		pool.AuxAddress[name] = a
	}
	return pools, nil
}

// pairs reads NAME=VALUE flags; a name alone has an empty value.
func pairs(flags []string) map[string]string {
	m := map[string]string{}
	for _, f := range flags {
		name, value, _ := strings.Cut(f, "=")
		m[name] = value
	}
	return m
}
