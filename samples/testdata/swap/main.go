// Command swap exchanges two names for ever, renameat2(2) with RENAME_EXCHANGE: whoever resolves a path through one of them
// must not be led astray.
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: swap NAME NAME")
		os.Exit(2)
	}
	for first := true; ; first = false {
		err := unix.Renameat2(unix.AT_FDCWD, os.Args[1], unix.AT_FDCWD, os.Args[2], unix.RENAME_EXCHANGE)
		if err != nil && first {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if first {
			fmt.Println("swapping")
		}
	}
}
