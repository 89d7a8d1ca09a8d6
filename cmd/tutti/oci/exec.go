package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"

	"tutti/runtime/oci"
)

// execFlags are those that describe the process.
type execFlags struct {
	oci.ExecOptions
	file, cwd, user, apparmor, label, cgroup string
	env, caps                                []string
	gids                                     []uint
	tty, detach, noNewPrivs, ignorePaused    bool
}

func (c *cli) execCommand() *cobra.Command {
	e := &execFlags{ExecOptions: oci.ExecOptions{Stdio: stdio()}}
	cmd := &cobra.Command{
		Use: "exec [OPTIONS] CONTAINER [COMMAND [ARG...]]", Short: "Execute a further process in a container", Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.failure = exitExec
			e.Attached = !e.detach
			return c.with(func(r *oci.Runtime) error { return e.run(cmd.Context(), r, args[0], args[1:]) })
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // what follows the container is the command's
	f.StringVarP(&e.file, "process", "p", "", "path of a process.json, instead of a command and the flags for it")
	f.BoolVarP(&e.detach, "detach", "d", false, "leave the process running")
	f.StringVar(&e.PidFile, "pid-file", "", "file to write the process ID to")
	f.StringVar(&e.ConsoleSocket, "console-socket", "", "unix socket that receives the master of the terminal")
	f.BoolVarP(&e.tty, "tty", "t", false, "allocate a terminal")
	f.StringVarP(&e.user, "user", "u", "", "UID[:GID]")
	f.UintSliceVarP(&e.gids, "additional-gids", "g", nil, "additional groups, by number")
	f.StringVar(&e.cwd, "cwd", "", "working directory in the container")
	f.StringArrayVarP(&e.env, "env", "e", nil, "set an environment variable, NAME=VALUE")
	f.StringArrayVarP(&e.caps, "cap", "c", nil, "add a capability to the bounding set of the process")
	f.BoolVar(&e.noNewPrivs, "no-new-privs", false, "set no_new_privs")
	f.StringVar(&e.apparmor, "apparmor", "", "AppArmor profile of the process")
	f.StringVar(&e.label, "process-label", "", "SELinux label of the process (not supported)")
	f.StringVar(&e.cgroup, "cgroup", "", "sub-cgroup to run the process in (not supported)")
	f.BoolVar(&e.ignorePaused, "ignore-paused", false, "execute in a paused container too (not supported)")
	f.IntVar(&e.PreserveFDs, "preserve-fds", 0, "pass N additional descriptors to the process (3 + $LISTEN_FDS + N in total)")
	return cmd
}

func (e *execFlags) run(ctx context.Context, r *oci.Runtime, id string, args []string) error {
	for name, given := range map[string]bool{
		"--process-label": e.label != "", "--cgroup": e.cgroup != "", "--ignore-paused": e.ignorePaused,
	} {
		if given {
			return fmt.Errorf("exec failed: %s is not supported", name)
		}
	}
	p, err := e.process(r, id, args)
	if err != nil {
		return fmt.Errorf("exec failed: %w", err)
	}
	proc, err := r.Exec(ctx, id, p, e.ExecOptions)
	if err != nil {
		return fmt.Errorf("exec failed: %w", err)
	}
	if e.detach {
		return nil
	}
	console, err := attach(proc.Console, proc)
	if err != nil {
		return fmt.Errorf("exec failed: %w", err)
	}
	status, err := proc.Wait(ctx)
	console.detach()
	if err != nil {
		return fmt.Errorf("exec failed: %w", err)
	}
	if status.Code != 0 {
		return exitCode(status.Code)
	}
	return nil
}

// process is what to execute: that of the file, or the container's own process with
// the command and what the flags change.
func (e *execFlags) process(r *oci.Runtime, id string, args []string) (*specs.Process, error) {
	if e.file != "" {
		return oci.ReadProcess(e.file)
	}
	if len(args) == 0 {
		return nil, errors.New("process args cannot be empty")
	}
	p, err := r.Process(id)
	if err != nil {
		return nil, err
	}
	p.Args, p.Terminal = args, e.tty
	p.Env = append(p.Env, e.env...)
	p.NoNewPrivileges = p.NoNewPrivileges || e.noNewPrivs
	if e.cwd != "" {
		p.Cwd = e.cwd
	}
	if e.apparmor != "" {
		p.ApparmorProfile = e.apparmor
	}
	if c := p.Capabilities; c != nil {
		for _, set := range []*[]string{&c.Bounding, &c.Effective, &c.Permitted} {
			*set = append(slices.Clone(*set), e.caps...)
		}
	} else if len(e.caps) > 0 {
		p.Capabilities = &specs.LinuxCapabilities{Bounding: e.caps, Effective: e.caps, Permitted: e.caps}
	}
	for _, g := range e.gids {
		p.User.AdditionalGids = append(p.User.AdditionalGids, uint32(g))
	}
	return p, setUser(p, e.user)
}

// setUser is --user: numbers, as in runc; names are the caller's to look up.
func setUser(p *specs.Process, user string) error {
	if user == "" {
		return nil
	}
	uid, gid, hasGroup := strings.Cut(user, ":")
	n, err := strconv.ParseUint(uid, 10, 31)
	if err != nil {
		return fmt.Errorf("parsing %s as UID: %w", uid, err)
	}
	p.User.UID, p.User.Username = uint32(n), ""
	if hasGroup {
		if n, err = strconv.ParseUint(gid, 10, 31); err != nil {
			return fmt.Errorf("parsing %s as GID: %w", gid, err)
		}
		p.User.GID = uint32(n)
	}
	return nil
}
