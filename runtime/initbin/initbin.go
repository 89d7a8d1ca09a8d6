// Package initbin carries the tutti-init program inside this binary. The file is
// built before the packages that import it (`make` does it):
//
//	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o runtime/initbin/bin/tutti-init ./cmd/tutti-init
package initbin

import (
	"embed"
	"errors"
)

//go:embed all:bin
var files embed.FS

// ErrMissing means that this binary was built before tutti-init was.
var ErrMissing = errors.New("tutti-init is not embedded in this binary: build with make")

// Program returns the ELF file of tutti-init.
func Program() ([]byte, error) {
	data, err := files.ReadFile("bin/tutti-init")
	if err != nil {
		return nil, ErrMissing
	}
	return data, nil
}
