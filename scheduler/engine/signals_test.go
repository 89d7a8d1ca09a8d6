package engine

import "testing"

func TestSignalNames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"": 15, "KILL": 9, "SIGKILL": 9, "sigusr1": 10, "9": 9, "64": 64, "SIGRTMIN": 34, "RTMIN+3": 37, "sigrtmin+30": 64,
		"SIGRTMAX": 64, "RTMAX-1": 63, "SIGRTMAX-30": 34, "WINCH": 28,
	} {
		if got, err := ParseSignal(text); err != nil || int(got) != want {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"0", "65", "-1", "SIG", "SIGNOSUCH", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMIN3", "RTMIN+"} {
		if got, err := ParseSignal(bad); err == nil {
			t.Errorf("%q is taken for %d", bad, got)
		}
	}
	for n, want := range map[int]string{9: "SIGKILL", 34: "SIGRTMIN", 37: "SIGRTMIN+3", 99: "signal 99"} {
		if got := SignalName(n); got != want {
			t.Errorf("signal %d is %s, want %s", n, got, want)
		}
	}
}
