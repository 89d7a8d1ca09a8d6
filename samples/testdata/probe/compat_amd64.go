package main

import "golang.org/x/sys/unix"

const has32 = true

func int80(nr, last uint32) int32

func verdict32(nr uint32) int {
	for {
		switch r := int80(nr, marker); {
		case r == -int32(unix.EINTR):
		case r == -allowed:
			return 0
		case r >= 0:
			return -1
		default:
			return int(-r)
		}
	}
}
