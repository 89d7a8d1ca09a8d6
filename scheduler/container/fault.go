package container

import "errors"

// Fault is what is wrong with one attribute of a service.
type Fault struct {
	Key []string // the attribute's path below the service: "ulimits", "nofile"; an index for an entry of a list
	Err error
}

// Error names the attribute.
func (f *Fault) Error() string { return f.Key[0] + ": " + f.Err.Error() }

// Unwrap returns the error itself.
func (f *Fault) Unwrap() error { return f.Err }

// At makes an error the fault of an attribute. nil stays nil, and what is a fault already stays as it is.
func At(err error, key ...string) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*Fault](err); known {
		return err
	}
	return &Fault{Key: key, Err: err}
}
