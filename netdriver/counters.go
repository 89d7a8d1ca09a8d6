package netdriver

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Counters are what went over one interface since it was made, as the container sees it.
type Counters struct {
	RxBytes, RxPackets, RxErrors, RxDropped uint64
	TxBytes, TxPackets, TxErrors, TxDropped uint64
}

// ReadCounters reads the counters of every interface but the loopback in the network namespace of a process, by name. It
// reads /proc/<pid>/net/dev, see proc_pid_net(5), which needs no entering of the namespace.
func ReadCounters(pid int) (map[string]Counters, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/net/dev")
	if err != nil {
		return nil, fmt.Errorf("read the network counters: %w", err)
	}
	return parseCounters(b), nil
}

// parseCounters reads lines "eth0: bytes packets errs drop fifo frame compressed multicast bytes packets errs drop ...".
func parseCounters(text []byte) map[string]Counters {
	all := map[string]Counters{}
	for line := range bytes.Lines(text) {
		name, rest, ok := strings.Cut(string(line), ":")
		fields := strings.Fields(rest)
		if name = strings.TrimSpace(name); !ok || name == "lo" || len(fields) < 12 {
			continue
		}
		var n [12]uint64
		for i := range n {
			n[i], _ = strconv.ParseUint(fields[i], 10, 64) // the kernel writes numbers
		}
		all[name] = Counters{RxBytes: n[0], RxPackets: n[1], RxErrors: n[2], RxDropped: n[3], TxBytes: n[8], TxPackets: n[9], TxErrors: n[10], TxDropped: n[11]}
	}
	return all
}
