package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tutti/scheduler/api"
)

type attachFlags struct {
	index          int
	detachKeys     string
	noStdin, proxy bool
	start          bool // a container that does not run is started
}

func (a *app) attachCommand() *cobra.Command {
	var f attachFlags
	cmd := &cobra.Command{
		Use:         "attach [OPTIONS] SERVICE",
		Short:       "Attach local standard input, output, and error streams to a service's running container",
		Args:        minArgs(1),
		Annotations: heeds(readsOnly),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := a.projectName()
			if err != nil {
				return err
			}
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			all, err := c.Containers(cmd.Context(), name)
			if err != nil {
				return err
			}
			target, err := attachTarget(all, args[0], f.index)
			if err != nil {
				return err
			}
			return a.attach(cmd, c, target, &f)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.index, "index", 0, "index of the container if service has multiple replicas.")
	f.add(flags)
	return cmd
}

// add are the flags that docker has, too.
func (f *attachFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.detachKeys, "detach-keys", "", "Override the key sequence for detaching from a container.")
	flags.BoolVar(&f.noStdin, "no-stdin", false, "Do not attach STDIN")
	flags.BoolVar(&f.proxy, "sig-proxy", true, "Proxy all received signals to the process")
}

// attachTarget is the running container of a service with the number asked for, or with the lowest; those of `run` come
// last.
func attachTarget(all []api.Container, service string, index int) (api.Container, error) {
	var running []api.Container
	for _, c := range all {
		if c.Service == service && slices.Contains(liveStates, c.State) && (index == 0 || c.Number == index && !c.OneOff) {
			running = append(running, c)
		}
	}
	if len(running) > 0 {
		return slices.MinFunc(running, func(a, b api.Container) int {
			if a.OneOff != b.OneOff {
				if a.OneOff {
					return 1
				}
				return -1
			}
			return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Name, b.Name))
		}), nil
	}
	if index > 0 {
		return api.Container{}, fmt.Errorf("service %q is not running container #%d", service, index)
	}
	return api.Container{}, fmt.Errorf("service %q is not running", service)
}

// attach connects our streams with those of a container until it ends, and passes its exit code on.
func (a *app) attach(cmd *cobra.Command, c *api.Client, target api.Container, f *attachFlags) error {
	ctx := cmd.Context()
	_, in := terminal(a.in)
	if target.TTY && target.StdinOpen && !f.noStdin && !in {
		return errNoTerminal
	}
	l := &link{
		a: a, c: c, object: "containers", tty: target.TTY, proxy: f.proxy && !target.TTY, repaint: true,
		stdin: target.StdinOpen && !f.noStdin, display: a.display(ctx, "attach", displayOptions{}),
	}
	var err error
	if l.keys, err = a.detachKeys(f.detachKeys); err != nil {
		return err
	}
	if !target.TTY {
		l.keys = nil
	}
	code, err := l.run(ctx, "attach", api.AttachRequest{Container: target.ID, Stdin: l.stdin, Start: f.start})
	if errors.Is(err, errDetached) {
		fmt.Fprintln(a.err, err)
	}
	return exitOf(code, err)
}

// errNoTerminal is docker's answer to something piped into a terminal's process.
var errNoTerminal = errors.New("cannot attach stdin to a TTY-enabled container because stdin is not a terminal")
