package oci

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tutti/runtime/oci"
)

// The values of update's flags. runc takes 0 for "as it is".
type updateFlags struct {
	file, cpus, mems, memory, reservation, swap, l3, bandwidth string
	weight                                                     uint16
	period, share, rtPeriod, burst                             uint64
	quota, rtRuntime, pids, idle                               int64
}

func (c *cli) updateCommand() *cobra.Command {
	u := &updateFlags{}
	cmd := &cobra.Command{
		Use: "update [OPTIONS] CONTAINER", Short: "Change the limits of a container", Args: exactly(1),
		Long: "Change the limits of a container.\n\nWith --resources the values are those of linux.resources in config.json, " +
			"and the other options are ignored. What is not given stays as it is.",
		RunE: func(cmd *cobra.Command, args []string) error {
			res, err := u.resources(cmd.Flags())
			if err != nil {
				return err
			}
			return c.with(func(r *oci.Runtime) error { return r.Update(args[0], res) })
		},
	}
	f := cmd.Flags()
	f.StringVarP(&u.file, "resources", "r", "", "JSON file with the values, - for standard input")
	f.Uint16Var(&u.weight, "blkio-weight", 0, "weight of block I/O, 10 to 1000")
	f.Uint64Var(&u.period, "cpu-period", 0, "CPU period, in microseconds")
	f.Int64Var(&u.quota, "cpu-quota", 0, "CPU time in a period, in microseconds; -1 for no limit")
	f.Uint64Var(&u.burst, "cpu-burst", 0, "CPU time that may be saved up, in microseconds")
	f.Uint64Var(&u.share, "cpu-share", 0, "CPU shares, relative to other containers")
	f.Uint64Var(&u.rtPeriod, "cpu-rt-period", 0, "period of real-time processes, in microseconds")
	f.Int64Var(&u.rtRuntime, "cpu-rt-runtime", 0, "time of real-time processes in a period, in microseconds")
	f.Int64Var(&u.idle, "cpu-idle", 0, "1: run only when nothing else does")
	f.StringVar(&u.cpus, "cpuset-cpus", "", "CPUs to use, 0-3,7")
	f.StringVar(&u.mems, "cpuset-mems", "", "memory nodes to use")
	f.StringVar(&u.memory, "memory", "", "memory limit, in bytes; -1 for none")
	f.StringVar(&u.reservation, "memory-reservation", "", "soft memory limit, in bytes")
	f.StringVar(&u.swap, "memory-swap", "", "limit of memory and swap together, in bytes; -1 for none")
	f.Int64Var(&u.pids, "pids-limit", 0, "highest number of processes; -1 for no limit")
	f.StringVar(&u.l3, "l3-cache-schema", "", "not supported")
	f.StringVar(&u.bandwidth, "mem-bw-schema", "", "not supported")
	return cmd
}

func (u *updateFlags) resources(f *pflag.FlagSet) (*specs.LinuxResources, error) {
	if u.l3 != "" || u.bandwidth != "" {
		return nil, fmt.Errorf("--l3-cache-schema and --mem-bw-schema are not supported")
	}
	if u.file != "" {
		return readResources(u.file)
	}
	res := &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: u.cpus, Mems: u.mems}, Memory: &specs.LinuxMemory{}}
	res.CPU.Period, res.CPU.Quota, res.CPU.Shares = given(f, "cpu-period", u.period), given(f, "cpu-quota", u.quota), given(f, "cpu-share", u.share)
	res.CPU.RealtimePeriod, res.CPU.RealtimeRuntime = given(f, "cpu-rt-period", u.rtPeriod), given(f, "cpu-rt-runtime", u.rtRuntime)
	res.CPU.Burst, res.CPU.Idle = given(f, "cpu-burst", u.burst), given(f, "cpu-idle", u.idle)
	if u.weight != 0 {
		res.BlockIO = &specs.LinuxBlockIO{Weight: &u.weight}
	}
	if u.pids != 0 {
		res.Pids = &specs.LinuxPids{Limit: &u.pids}
	}
	for _, m := range []struct {
		flag, value string
		to          **int64
	}{
		{"memory", u.memory, &res.Memory.Limit},
		{"memory-reservation", u.reservation, &res.Memory.Reservation},
		{"memory-swap", u.swap, &res.Memory.Swap},
	} {
		if m.value == "" {
			continue
		}
		n, err := strconv.ParseInt(m.value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("invalid value for --%s: %w", m.flag, err)
		}
		*m.to = &n
	}
	return res, nil
}

// given is a flag's value, nil for a flag that is 0 or was not given.
func given[T uint64 | int64](f *pflag.FlagSet, name string, value T) *T {
	if value == 0 && !f.Changed(name) {
		return nil
	}
	return &value
}

func readResources(file string) (*specs.LinuxResources, error) {
	in := io.Reader(os.Stdin)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // opened for reading
		in = f
	}
	res := &specs.LinuxResources{}
	if err := json.NewDecoder(in).Decode(res); err != nil {
		return nil, fmt.Errorf("read resources: %w", err)
	}
	return res, nil
}
