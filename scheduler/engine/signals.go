package engine

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Real-time signals as programs see them: the C library keeps the first two for itself, signal(7).
const (
	sigRTMin = 34
	sigRTMax = 64
)

// ParseSignal reads a signal's name, with or without SIG, in upper or lower case, also SIGRTMIN+1 and SIGRTMAX-1, or its
// number; "" is SIGTERM.
func ParseSignal(s string) (syscall.Signal, error) {
	if s == "" {
		return unix.SIGTERM, nil
	}
	if n, err := strconv.Atoi(s); err == nil {
		if n > 0 && n <= sigRTMax {
			return syscall.Signal(n), nil
		}
		return 0, fmt.Errorf("there is no signal %d", n)
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")
	for base, number := range map[string]int{"SIGRTMIN": sigRTMin, "SIGRTMAX": sigRTMax} {
		rest, ok := strings.CutPrefix(name, base)
		if !ok {
			continue
		}
		offset, err := 0, error(nil)
		if rest != "" {
			offset, err = strconv.Atoi(rest)
		}
		if n := number + offset; err == nil && n >= sigRTMin && n <= sigRTMax && (rest == "" || rest[0] == '+' || rest[0] == '-') {
			return syscall.Signal(n), nil
		}
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("%q is no signal", s)
}

// SignalName is a signal's name, "SIGRTMIN+3" too, or its number where it has none.
func SignalName(n int) string {
	if n == sigRTMin {
		return "SIGRTMIN"
	}
	if n > sigRTMin && n <= sigRTMax {
		return "SIGRTMIN+" + strconv.Itoa(n-sigRTMin)
	}
	if name := unix.SignalName(syscall.Signal(n)); name != "" {
		return name
	}
	return "signal " + strconv.Itoa(n)
}
