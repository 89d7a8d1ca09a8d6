package main

// exitSetup is the status of an init that failed before it became the
// container's program; nobody should see it, the error goes to the engine.
const exitSetup = 125

func initMain() int { return exitSetup }
