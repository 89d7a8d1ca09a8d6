package netdriver

import "testing"

func TestParseCounters(t *testing.T) {
	t.Parallel()
	got := parseCounters([]byte(`Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       2    0    0    0     0          0         0      100       2    0    0    0     0       0          0
  eth0:    1096      14    1    2    0     0          0         0      516       6    3    4    0     0       0          0
eth1:0 0 0 0 0 0 0 0 18446744073709551615 0 0 0 0 0 0 0
`))
	want := Counters{RxBytes: 1096, RxPackets: 14, RxErrors: 1, RxDropped: 2, TxBytes: 516, TxPackets: 6, TxErrors: 3, TxDropped: 4}
	if len(got) != 2 || got["eth0"] != want || got["eth1"].TxBytes != 1<<64-1 {
		t.Errorf("read %+v", got)
	}
}
