package runtime

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime/seccomp"
)

// maxFilters bounds the cache; a host runs a handful of different profiles.
const maxFilters = 32

// filterCache keeps compiled seccomp filters by the hash of their section:
// compiling costs half a millisecond, hashing a few microseconds.
type filterCache struct {
	mu       sync.Mutex
	programs map[[sha256.Size]byte]seccomp.Program
}

func (f *filterCache) compile(s *specs.LinuxSeccomp) ([]byte, uint64, error) {
	if s == nil {
		return nil, 0, nil
	}
	key := hashSection(s)
	f.mu.Lock()
	defer f.mu.Unlock()
	if p, ok := f.programs[key]; ok {
		return p.Code, p.Flags, nil
	}
	p, err := seccomp.Compile(s)
	if err != nil {
		return nil, 0, err
	}
	if f.programs == nil || len(f.programs) >= maxFilters {
		f.programs = map[[sha256.Size]byte]seccomp.Program{}
	}
	f.programs[key] = p
	return p.Code, p.Flags, nil
}

// section hashes the fields that a filter depends on; every string and list is
// preceded by its length, so that no two sections have one form.
type section struct {
	h   hash.Hash
	buf []byte
}

func hashSection(s *specs.LinuxSeccomp) (key [sha256.Size]byte) {
	x := section{h: sha256.New()}
	x.str(string(s.DefaultAction))
	x.errno(s.DefaultErrnoRet)
	x.str(s.ListenerPath)
	x.number(uint64(len(s.Architectures)))
	for _, a := range s.Architectures {
		x.str(string(a))
	}
	if s.Flags == nil { // differs from an empty list
		x.str("default flags")
	}
	x.number(uint64(len(s.Flags)))
	for _, f := range s.Flags {
		x.str(string(f))
	}
	x.number(uint64(len(s.Syscalls)))
	for i := range s.Syscalls {
		c := &s.Syscalls[i]
		x.str(string(c.Action))
		x.errno(c.ErrnoRet)
		x.number(uint64(len(c.Names)))
		for _, n := range c.Names {
			x.str(n)
		}
		x.number(uint64(len(c.Args)))
		for _, a := range c.Args {
			x.number(uint64(a.Index))
			x.number(a.Value)
			x.number(a.ValueTwo)
			x.str(string(a.Op))
		}
	}
	x.flush()
	x.h.Sum(key[:0])
	return key
}

func (x *section) number(n uint64) { x.buf = binary.AppendUvarint(x.buf, n) }

func (x *section) str(s string) {
	x.number(uint64(len(s)))
	x.buf = append(x.buf, s...)
	if len(x.buf) > 4096 {
		x.flush()
	}
}

func (x *section) errno(e *uint) {
	if e == nil {
		x.number(0)
		return
	}
	x.number(uint64(*e) + 1)
}

func (x *section) flush() {
	_, _ = x.h.Write(x.buf) // a hash never fails
	x.buf = x.buf[:0]
}
