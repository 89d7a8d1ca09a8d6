package oci

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tutti/runtime/oci"
)

func printJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// withOwner adds the name of who created the container.
func withOwner(s *oci.State) *oci.State {
	id := strconv.FormatUint(uint64(s.UID()), 10)
	s.Owner = "#" + id
	if u, err := user.LookupId(id); err == nil {
		s.Owner = u.Username
	}
	return s
}

func (c *cli) stateCommand() *cobra.Command {
	return c.onContainer("state", "Output the state of a container",
		func(_ context.Context, r *oci.Runtime, id string) error {
			s, err := r.State(id)
			if err != nil {
				return err
			}
			return printJSON(os.Stdout, withOwner(s))
		})
}

func (c *cli) listCommand() *cobra.Command {
	var format string
	var quiet bool
	cmd := &cobra.Command{
		Use: "list [OPTIONS]", Short: "List the containers of the root folder", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			return c.with(func(r *oci.Runtime) error { return printList(r, format, quiet) })
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "table", "table or json")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "display container IDs only")
	return cmd
}

func checkFormat(format string) error {
	if format != "table" && format != "json" {
		return fmt.Errorf("invalid format option %q: table or json is wanted", format)
	}
	return nil
}

func printList(r *oci.Runtime, format string, quiet bool) error {
	list, err := r.List()
	if err != nil {
		return err
	}
	for _, s := range list {
		withOwner(s)
	}
	switch {
	case quiet:
		for _, s := range list {
			fmt.Println(s.ID)
		}
		return nil
	case format == "json":
		b, err := json.Marshal(list)
		if err != nil {
			return err
		}
		fmt.Println(string(b))
		return nil
	}
	w := tabwriter.NewWriter(os.Stdout, 12, 1, 3, ' ', 0)
	fmt.Fprintln(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER")
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.Pid, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), s.Owner)
	}
	return w.Flush()
}

func (c *cli) psCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "ps [OPTIONS] CONTAINER [PS OPTIONS]", Short: "Display the processes of a container", Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			return c.with(func(r *oci.Runtime) error {
				pids, err := r.Pids(args[0])
				if err != nil {
					return err
				}
				if format == "json" {
					return json.NewEncoder(os.Stdout).Encode(append([]int{}, pids...))
				}
				return printProcesses(cmd.Context(), pids, args[1:])
			})
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "table", "table or json")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// printProcesses prints the lines of ps(1) that are about the processes.
func printProcesses(ctx context.Context, pids []int, options []string) error {
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	out, err := exec.CommandContext(ctx, "ps", options...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ps %s: %w: %s", strings.Join(options, " "), err, bytes.TrimSpace(out))
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	column := -1
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if column < 0 {
			if column = slices.Index(fields, "PID"); column < 0 {
				return errors.New("ps: its output has no column PID")
			}
			fmt.Println(lines.Text())
			continue
		}
		if column >= len(fields) {
			continue
		}
		if pid, err := strconv.Atoi(fields[column]); err == nil && slices.Contains(pids, pid) {
			fmt.Println(lines.Text())
		}
	}
	return lines.Err()
}
