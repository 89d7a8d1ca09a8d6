package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"
)

// connectFlags are docker's.
type connectFlags struct {
	ip, ip6                    string
	links, aliases, driverOpts []string
	linkLocal                  []string
	gwPriority                 int
}

func (a *app) networkConnectCommand() *cobra.Command {
	var f connectFlags
	cmd := &cobra.Command{
		Use:   "connect [OPTIONS] NETWORK CONTAINER",
		Short: "Connect a container to a network",
		Args:  exactArgs(2),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			endpoint, err := f.endpoint()
			if err != nil {
				return err
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			q := network.ConnectRequest{Container: args[1], EndpointConfig: endpoint}
			return c.Call(ctx, http.MethodPost, "/networks/"+url.PathEscape(args[0])+"/connect", q, nil)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.ip, "ip", "", `IPv4 address (e.g., "172.30.100.104")`)
	flags.StringVar(&f.ip6, "ip6", "", `IPv6 address (e.g., "2001:db8::33")`)
	flags.StringArrayVar(&f.links, "link", nil, "Add link to another container")
	flags.StringSliceVar(&f.aliases, "alias", nil, "Add network-scoped alias for the container")
	flags.StringSliceVar(&f.linkLocal, "link-local-ip", nil, "Add a link-local address for the container")
	flags.StringArrayVar(&f.driverOpts, "driver-opt", nil, "driver options for the network")
	flags.IntVar(&f.gwPriority, "gw-priority", 0, "Highest gw-priority provides the default gateway. Accepts positive and negative values.")
	return cmd
}

// endpoint is what is asked for in docker's terms.
func (f *connectFlags) endpoint() (*network.EndpointSettings, error) {
	e := &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{}, Links: f.links, Aliases: f.aliases, GwPriority: f.gwPriority}
	var err error
	if e.IPAMConfig.IPv4Address, err = addressFlag("ip", f.ip, true); err != nil {
		return nil, err
	}
	if e.IPAMConfig.IPv6Address, err = addressFlag("ip6", f.ip6, false); err != nil {
		return nil, err
	}
	for _, text := range f.linkLocal {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("invalid argument %q for --link-local-ip: give an address", text)
		}
		e.IPAMConfig.LinkLocalIPs = append(e.IPAMConfig.LinkLocalIPs, ip.Unmap())
	}
	for _, o := range f.driverOpts {
		name, value, ok := strings.Cut(o, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, errors.New("invalid key/value pair format in driver options")
		}
		if e.DriverOpts == nil {
			e.DriverOpts = map[string]string{}
		}
		e.DriverOpts[name] = strings.TrimSpace(value)
	}
	return e, nil
}

// addressFlag reads an address of one family; "" is none.
func addressFlag(flag, text string, four bool) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	ip, err := netip.ParseAddr(text)
	if err == nil && ip.Unmap().Is4() != four {
		err = errors.New("it is of the other family")
	}
	if err != nil {
		return ip, fmt.Errorf("invalid argument %q for --%s: %w", text, flag, err)
	}
	return ip.Unmap(), nil
}

func (a *app) networkDisconnectCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "disconnect [OPTIONS] NETWORK CONTAINER",
		Short: "Disconnect a container from a network",
		Args:  exactArgs(2),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			q := network.DisconnectRequest{Container: args[1], Force: force}
			return c.Call(ctx, http.MethodPost, "/networks/"+url.PathEscape(args[0])+"/disconnect", q, nil)
		}),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force the container to disconnect from a network")
	return cmd
}
