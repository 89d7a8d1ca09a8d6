package main

import (
	"os"

	"tutti/runtime/keeper/server"
)

func init() { programs["tutti-keeper"] = keeperMain }

// keeperMain runs the program as the engine's keeper.
func keeperMain() int { return server.Main(os.Args) }
