package engine

import "errors"

// Kinds of refusals, which the API tells apart.
var (
	ErrNoSuch    = errors.New("no such")                              // there is no container, exec, network or volume of that name
	ErrConflict  = errors.New("conflict")                             // the state of things does not allow what was asked for
	ErrInvalid   = errors.New("invalid")                              // the request makes no sense
	ErrNameTaken = errors.New("the container name is already in use") // a conflict, too
	ErrForbidden = errors.New("forbidden")                            // nobody may do that
)
