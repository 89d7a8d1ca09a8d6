package scheduler

import "errors"

// Kinds of refusals, which the API tells apart.
var (
	ErrInvalid   = errors.New("invalid")   // the request makes no sense
	ErrForbidden = errors.New("forbidden") // nobody may do that
)
