package runtime

import specs "github.com/opencontainers/runtime-spec/specs-go"

type filterCache struct{}

func (*filterCache) compile(*specs.LinuxSeccomp) ([]byte, uint64, error) { return nil, 0, nil }
