package project

import (
	"regexp"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"
)

// driveSpec is the beginning of a short volume that the loader takes for a path on a
// Windows drive: "v:/data".
var driveSpec = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([a-zA-Z]):(/.*)$`) })

// keepLinuxVolumes undoes the loader's reading of `v:/data` as a Windows path: here
// it is the volume v mounted on /data. What the loader makes of the string depends on
// how many colons follow: without any it is an anonymous volume with that target,
// otherwise a bind of that source.
func keepLinuxVolumes(p *types.Project) {
	for _, services := range []types.Services{p.Services, p.DisabledServices} {
		for _, s := range services {
			for i := range s.Volumes {
				keepLinuxVolume(&s.Volumes[i])
			}
		}
	}
}

func keepLinuxVolume(v *types.ServiceVolumeConfig) {
	if m := driveSpec().FindStringSubmatch(v.Target); m != nil && v.Source == "" && v.Type == types.VolumeTypeVolume {
		v.Source, v.Target = m[1], m[2]
		return
	}
	m := driveSpec().FindStringSubmatch(v.Source)
	if m == nil || v.Type != types.VolumeTypeBind || strings.HasPrefix(v.Target, "/") {
		return
	}
	options := v.Target
	*v = types.ServiceVolumeConfig{
		Type: types.VolumeTypeVolume, Source: m[1], Target: m[2],
		Volume: &types.ServiceVolumeVolume{}, Extensions: v.Extensions,
	}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "ro":
			v.ReadOnly = true
		case "nocopy":
			v.Volume.NoCopy = true
		}
	}
}
