package oci

import (
	"encoding/json"
	"os"
	"time"

	"github.com/spf13/cobra"

	"tutti/runtime"
	"tutti/runtime/cgroup"
	"tutti/runtime/oci"
)

// event is a line of `events`, as runc's (types/events.go there): the counters that
// this runtime reads, under runc's names.
type event struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

type (
	number  = uint64
	cpuData struct {
		Usage struct {
			Total  number `json:"total"`
			Kernel number `json:"kernel"`
			User   number `json:"user"`
		} `json:"usage"`
		Throttling struct {
			Periods   number `json:"periods"`
			Throttled number `json:"throttledPeriods"`
			Time      number `json:"throttledTime"`
		} `json:"throttling"`
	}
	memoryEntry struct {
		Limit number `json:"limit"`
		Usage number `json:"usage"`
		Max   number `json:"max"`
	}
	memoryData struct {
		Usage memoryEntry       `json:"usage"`
		Swap  memoryEntry       `json:"swap"`
		Raw   map[string]number `json:"raw"`
	}
	pidsData struct {
		Current number `json:"current"`
		Limit   number `json:"limit"`
	}
	ioEntry struct {
		Major number `json:"major"`
		Minor number `json:"minor"`
		Op    string `json:"op"`
		Value number `json:"value"`
	}
	ioData struct {
		Bytes      []ioEntry `json:"ioServiceBytesRecursive,omitempty"`
		Operations []ioEntry `json:"ioServicedRecursive,omitempty"`
	}
	statsData struct {
		CPU    cpuData    `json:"cpu"`
		Memory memoryData `json:"memory"`
		Pids   pidsData   `json:"pids"`
		IO     ioData     `json:"blkio"`
	}
)

func statsOf(s cgroup.Stats) statsData {
	var d statsData
	d.CPU.Usage.Total, d.CPU.Usage.Kernel, d.CPU.Usage.User = number(s.CPU.Usage), number(s.CPU.System), number(s.CPU.User)
	d.CPU.Throttling.Periods, d.CPU.Throttling.Throttled = s.CPU.Periods, s.CPU.Throttled
	d.CPU.Throttling.Time = number(s.CPU.ThrottledTime)
	d.Memory.Usage = memoryEntry{Limit: s.Memory.Limit, Usage: s.Memory.Usage, Max: s.Memory.Peak}
	d.Memory.Swap.Usage = s.Memory.Swap
	d.Memory.Raw = map[string]number{"inactive_file": s.Memory.InactiveFile, "total_inactive_file": s.Memory.InactiveFile}
	d.Pids = pidsData{Current: s.Pids.Current, Limit: s.Pids.Limit}
	for _, io := range s.IO {
		entry := func(op string, value number) ioEntry {
			return ioEntry{Major: io.Major, Minor: io.Minor, Op: op, Value: value}
		}
		d.IO.Bytes = append(d.IO.Bytes, entry("Read", io.ReadBytes), entry("Write", io.WriteBytes))
		d.IO.Operations = append(d.IO.Operations, entry("Read", io.ReadOps), entry("Write", io.WriteOps))
	}
	return d
}

func (c *cli) eventsCommand() *cobra.Command {
	var once bool
	interval := 5 * time.Second
	cmd := &cobra.Command{
		Use: "events [OPTIONS] CONTAINER", Short: "Display a container's counters, and when it runs out of memory", Args: exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.with(func(r *oci.Runtime) error {
				container, err := r.Container(args[0])
				if err != nil {
					return err
				}
				return events(container, once, interval)
			})
		},
	}
	cmd.Flags().BoolVar(&once, "stats", false, "display the counters once")
	cmd.Flags().DurationVar(&interval, "interval", interval, "time between two displays")
	return cmd
}

// events prints until the container has ended.
func events(c *runtime.Container, once bool, interval time.Duration) error {
	out := json.NewEncoder(os.Stdout)
	if c.State().Status == runtime.StatusStopped {
		return oci.ErrNotRunning
	}
	tick := time.NewTicker(max(interval, time.Millisecond))
	defer tick.Stop()
	kills := uint64(0)
	for {
		s, err := c.Stats()
		if err != nil {
			return err
		}
		if s.Memory.OOMKills > kills {
			kills = s.Memory.OOMKills
			if err := out.Encode(event{Type: "oom", ID: c.ID()}); err != nil {
				return err
			}
		}
		if err := out.Encode(event{Type: "stats", ID: c.ID(), Data: statsOf(s)}); err != nil {
			return err
		}
		if once {
			return nil
		}
		<-tick.C
		if c.State().Status == runtime.StatusStopped {
			return nil
		}
	}
}
