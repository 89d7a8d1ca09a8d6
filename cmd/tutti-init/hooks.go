package main

import (
	"tutti/runtime/hooks"

	"golang.org/x/sys/unix"
)

// runHooks runs hooks inside the container's namespaces. rest is the state without
// what only this process knows: its pid as it is seen here.
func runHooks(list []hooks.Hook, kind string, rest []byte) error {
	if len(list) == 0 {
		return nil
	}
	state := append([]byte(`{"status":"created","pid":`+itoa(unix.Getpid())+`,`), rest...)
	for i := range list {
		if err := list[i].Run(state, "/"); err != nil {
			return failed("run "+kind+" hook "+list[i].Path, err)
		}
	}
	return nil
}
