package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// notYet names a command that docker has and tutti has not, yet.
type notYet struct{ name, short string }

// commandsNotYet are those of docker compose, of docker's own top level where users of a compose file need them, and the
// ones announced for tutti alone.
var commandsNotYet = []notYet{
	{"bridge", "Convert compose files into another model"},
	{"publish", "Publish compose application"},
}

// notYetCommands makes commands that say by name that they are not supported yet, whatever follows them.
func notYetCommands(parent string, list []notYet) []*cobra.Command {
	commands := make([]*cobra.Command, 0, len(list))
	for _, n := range list {
		commands = append(commands, &cobra.Command{
			Use:                n.name,
			Short:              n.short,
			DisableFlagParsing: true,
			Annotations:        heeds(readsOnly),
			RunE: func(*cobra.Command, []string) error {
				return fmt.Errorf("%s %s is not supported yet", parent, n.name)
			},
		})
	}
	return commands
}

// refusal is a flag that docker has and tutti cannot heed yet.
type refusal struct {
	name, short string
	isBool      bool
}

// refused is the value of such a flag. It takes anything, so that the refusal can name the flag.
type refused struct {
	given  string
	isBool bool
}

func (r *refused) String() string     { return r.given }
func (r *refused) Set(v string) error { r.given = v; return nil }
func (r *refused) Type() string {
	if r.isBool {
		return "bool"
	}
	return "string"
}

// refuse gives a command flags that it refuses by name. Its help lists them.
func refuse(cmd *cobra.Command, flags ...refusal) {
	if cmd.Long == "" {
		cmd.Long = cmd.Short
	}
	cmd.Long += "\n\nNot supported yet:"
	for i, r := range flags {
		f := cmd.Flags().VarPF(&refused{isBool: r.isBool}, r.name, r.short, "not supported yet")
		f.Hidden = true
		if r.isBool {
			f.NoOptDefVal = "true"
		}
		if i > 0 {
			cmd.Long += ","
		}
		cmd.Long += " --" + r.name
	}
}

// refusedFlags returns an error that names the first flag given that is not supported. `--flag=false` asks for nothing.
func refusedFlags(cmd *cobra.Command) error {
	var err error
	for c := cmd; c != nil; c = c.Parent() {
		c.Flags().Visit(func(f *pflag.Flag) {
			if r, ok := f.Value.(*refused); ok && err == nil && (!r.isBool || r.given != "false") {
				err = fmt.Errorf("--%s is not supported yet", f.Name)
			}
		})
	}
	return err
}
