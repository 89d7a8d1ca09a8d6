package engine

import (
	"os"

	"tutti/netdriver/portmap/relay"
	"tutti/runtime/initbin"
)

// relayProgram opens the program that relays connections to published ports where the firewall's rules cannot.
func relayProgram() (*os.File, error) {
	program, err := initbin.Program()
	if err != nil {
		return nil, err
	}
	return initbin.Seal(relay.Program, program)
}
