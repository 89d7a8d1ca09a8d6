package runtime

import "errors"

var (
	// ErrNotFound means that the program to execute does not exist (exit code 127).
	ErrNotFound = errors.New("executable not found")
	// ErrPermission means that the program exists and cannot be executed (exit code 126).
	ErrPermission = errors.New("not executable")
	// ErrNoContainer means that there is no container of that ID.
	ErrNoContainer = errors.New("no such container")
	// ErrExists means that a container of that ID exists already.
	ErrExists = errors.New("container exists")
	// ErrNotRunning means that the operation needs a running container.
	ErrNotRunning = errors.New("container is not running")
	// ErrNotCreated means that the container was started already, or has ended.
	ErrNotCreated = errors.New("container is not in state created")
	// ErrPaused means that the operation needs a container that is not paused.
	ErrPaused = errors.New("container is paused")
)

// ExitCode is the exit code that shells and docker use for an error of Start or
// Exec: 127 for ErrNotFound, 126 for ErrPermission, 125 for everything else.
func ExitCode(err error) int {
	switch {
	case errors.Is(err, ErrNotFound):
		return 127
	case errors.Is(err, ErrPermission):
		return 126
	}
	return 125
}
