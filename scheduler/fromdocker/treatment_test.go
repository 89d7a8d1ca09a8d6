package fromdocker

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tutti/scheduler/container"
	"tutti/scheduler/supervise"
)

// samples give each field of the body a value, beside an image with a command. Those that mean something with others alone
// have them; {} stands for the rest of the body. The field that a sample is of is its key.
var samples = map[string]string{
	"Config.Hostname": `{"Hostname":"h"}`, "Config.Domainname": `{"Domainname":"d"}`, "Config.User": `{"User":"7"}`,
	"Config.AttachStdin": `{"AttachStdin":true}`, "Config.AttachStdout": `{"AttachStdout":true}`, "Config.AttachStderr": `{"AttachStderr":true}`,
	"Config.ExposedPorts": `{"ExposedPorts":{"81/udp":{}}}`, "Config.Tty": `{"Tty":true}`, "Config.OpenStdin": `{"OpenStdin":true}`, "Config.StdinOnce": `{"StdinOnce":true}`,
	"Config.Env": `{"Env":["A=b"]}`, "Config.Cmd": `{"Cmd":["other"]}`, "Config.ArgsEscaped": `{"ArgsEscaped":true}`, "Config.Image": `{"Image":""}`,
	"Config.Healthcheck.Test":          `{"Healthcheck":{"Test":["CMD","x"]}}`,
	"Config.Healthcheck.Interval":      `{"Healthcheck":{"Test":["CMD","x"],"Interval":2000000}}`,
	"Config.Healthcheck.Timeout":       `{"Healthcheck":{"Test":["CMD","x"],"Timeout":2000000}}`,
	"Config.Healthcheck.StartPeriod":   `{"Healthcheck":{"Test":["CMD","x"],"StartPeriod":2000000}}`,
	"Config.Healthcheck.StartInterval": `{"Healthcheck":{"Test":["CMD","x"],"StartInterval":2000000}}`,
	"Config.Healthcheck.Retries":       `{"Healthcheck":{"Test":["CMD","x"],"Retries":5}}`,
	"Config.Volumes":                   `{"Volumes":{"/v":{}}}`, "Config.WorkingDir": `{"WorkingDir":"/w"}`, "Config.Entrypoint": `{"Entrypoint":["e"]}`,
	"Config.NetworkDisabled": `{"NetworkDisabled":true}`, "Config.OnBuild": `{"OnBuild":["RUN x"]}`, "Config.Labels": `{"Labels":{"a":"b"}}`,
	"Config.StopSignal": `{"StopSignal":"SIGINT"}`, "Config.StopTimeout": `{"StopTimeout":3}`,
	"Config.Shell": `{"Shell":["/bin/other"],"Healthcheck":{"Test":["CMD-SHELL","x"]}}`,
	"MacAddress":   `{"MacAddress":"02:42:ac:11:65:43"}`,

	"HostConfig.Binds": `{"HostConfig":{"Binds":["data:/d"]}}`, "HostConfig.ContainerIDFile": `{"HostConfig":{"ContainerIDFile":"/x"}}`,
	"HostConfig.LogConfig.Type": `{"HostConfig":{"LogConfig":{"Type":"local"}}}`, "HostConfig.LogConfig.Config": `{"HostConfig":{"LogConfig":{"Config":{"max-size":"1m"}}}}`,
	"HostConfig.NetworkMode": `{"HostConfig":{"NetworkMode":"none"}}`, "HostConfig.PortBindings.HostIP": `{"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1"}]}}}`,
	"HostConfig.PortBindings.HostPort": `{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"8080"}]}}}`,
	"HostConfig.RestartPolicy.Name":    `{"HostConfig":{"RestartPolicy":{"Name":"always"}}}`, "HostConfig.RestartPolicy.MaximumRetryCount": `{"HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}}}`,
	"HostConfig.AutoRemove": `{"HostConfig":{"AutoRemove":true}}`, "HostConfig.VolumeDriver": `{"HostConfig":{"VolumeDriver":"other"}}`,
	"HostConfig.VolumesFrom": `{"HostConfig":{"VolumesFrom":["other:ro"]}}`, "HostConfig.ConsoleSize": `{"HostConfig":{"ConsoleSize":[24,80]}}`, "HostConfig.Annotations": `{"HostConfig":{"Annotations":{"a":"b"}}}`,
	"HostConfig.CapAdd": `{"HostConfig":{"CapAdd":["NET_ADMIN"]}}`, "HostConfig.CapDrop": `{"HostConfig":{"CapDrop":["CHOWN"]}}`, "HostConfig.CgroupnsMode": `{"HostConfig":{"CgroupnsMode":"host"}}`,
	"HostConfig.DNS": `{"HostConfig":{"Dns":["192.0.2.9"]}}`, "HostConfig.DNSOptions": `{"HostConfig":{"DnsOptions":["ndots:1"]}}`, "HostConfig.DNSSearch": `{"HostConfig":{"DnsSearch":["example.org"]}}`,
	"HostConfig.ExtraHosts": `{"HostConfig":{"ExtraHosts":["two:fd00::2"]}}`, "HostConfig.GroupAdd": `{"HostConfig":{"GroupAdd":["7"]}}`, "HostConfig.IpcMode": `{"HostConfig":{"IpcMode":"host"}}`,
	"HostConfig.Cgroup": `{"HostConfig":{"Cgroup":"container:other"}}`, "HostConfig.Links": `{"HostConfig":{"Links":["other:alias"]}}`, "HostConfig.OomScoreAdj": `{"HostConfig":{"OomScoreAdj":7}}`,
	"HostConfig.PidMode": `{"HostConfig":{"PidMode":"container:other"}}`, "HostConfig.Privileged": `{"HostConfig":{"Privileged":true}}`,
	"HostConfig.PublishAllPorts": `{"ExposedPorts":{"80/tcp":{}},"HostConfig":{"PublishAllPorts":true}}`, "HostConfig.ReadonlyRootfs": `{"HostConfig":{"ReadonlyRootfs":true}}`,
	"HostConfig.SecurityOpt": `{"HostConfig":{"SecurityOpt":["no-new-privileges"]}}`, "HostConfig.StorageOpt": `{"HostConfig":{"StorageOpt":{"size":"1g"}}}`, "HostConfig.Tmpfs": `{"HostConfig":{"Tmpfs":{"/t":"size=1m"}}}`,
	"HostConfig.UTSMode": `{"HostConfig":{"UTSMode":"host"}}`, "HostConfig.UsernsMode": `{"HostConfig":{"UsernsMode":"other"}}`, "HostConfig.ShmSize": `{"HostConfig":{"ShmSize":1048576}}`,
	"HostConfig.Sysctls": `{"HostConfig":{"Sysctls":{"net.core.somaxconn":"9"}}}`, "HostConfig.Runtime": `{"HostConfig":{"Runtime":"other"}}`, "HostConfig.Umask": `{"HostConfig":{"Umask":7}}`,
	"HostConfig.Isolation": `{"HostConfig":{"Isolation":"hyperv"}}`, "HostConfig.Init": `{"HostConfig":{"Init":true}}`,
	"HostConfig.MaskedPaths": `{"HostConfig":{"MaskedPaths":[]}}`, "HostConfig.ReadonlyPaths": `{"HostConfig":{"ReadonlyPaths":["/proc/bus"]}}`,
	"HostConfig.KernelMemory": `{"HostConfig":{"KernelMemory":1}}`, "HostConfig.KernelMemoryTCP": `{"HostConfig":{"KernelMemoryTCP":1}}`,

	"HostConfig.CPUShares": `{"HostConfig":{"CpuShares":2}}`, "HostConfig.Memory": `{"HostConfig":{"Memory":8388608}}`, "HostConfig.NanoCPUs": `{"HostConfig":{"NanoCpus":500000000}}`,
	"HostConfig.CgroupParent": `{"HostConfig":{"CgroupParent":"/x"}}`, "HostConfig.BlkioWeight": `{"HostConfig":{"BlkioWeight":20}}`,
	"HostConfig.BlkioWeightDevice.Path":      `{"HostConfig":{"BlkioWeightDevice":[{"Path":"/dev/x","Weight":20}]}}`,
	"HostConfig.BlkioWeightDevice.Weight":    `{"HostConfig":{"BlkioWeightDevice":[{"Path":"/dev/x","Weight":20}]}}`,
	"HostConfig.BlkioDeviceReadBps.Path":     `{"HostConfig":{"BlkioDeviceReadBps":[{"Path":"/dev/x","Rate":9}]}}`,
	"HostConfig.BlkioDeviceReadBps.Rate":     `{"HostConfig":{"BlkioDeviceReadBps":[{"Path":"/dev/x","Rate":9}]}}`,
	"HostConfig.BlkioDeviceWriteBps.Path":    `{"HostConfig":{"BlkioDeviceWriteBps":[{"Path":"/dev/x","Rate":9}]}}`,
	"HostConfig.BlkioDeviceWriteBps.Rate":    `{"HostConfig":{"BlkioDeviceWriteBps":[{"Path":"/dev/x","Rate":9}]}}`,
	"HostConfig.BlkioDeviceReadIOps.Path":    `{"HostConfig":{"BlkioDeviceReadIOps":[{"Path":"/dev/x","Rate":9}]}}`,
	"HostConfig.BlkioDeviceReadIOps.Rate":    `{"HostConfig":{"BlkioDeviceReadIOps":[{"Path":"/dev/x","Rate":9}]}}`,
	"HostConfig.BlkioDeviceWriteIOps.Path":   `{"HostConfig":{"BlkioDeviceWriteIOps":[{"Path":"/dev/x","Rate":9}]}}`,
	"HostConfig.BlkioDeviceWriteIOps.Rate":   `{"HostConfig":{"BlkioDeviceWriteIOps":[{"Path":"/dev/x","Rate":9}]}}`,
	"HostConfig.CPUPeriod":                   `{"HostConfig":{"CpuPeriod":50000}}`,
	"HostConfig.CPUQuota":                    `{"HostConfig":{"CpuQuota":50000}}`,
	"HostConfig.CPURealtimePeriod":           `{"HostConfig":{"CpuRealtimePeriod":50000}}`,
	"HostConfig.CPURealtimeRuntime":          `{"HostConfig":{"CpuRealtimeRuntime":50000}}`,
	"HostConfig.CpusetCpus":                  `{"HostConfig":{"CpusetCpus":"0"}}`,
	"HostConfig.CpusetMems":                  `{"HostConfig":{"CpusetMems":"0"}}`,
	"HostConfig.Devices.PathOnHost":          `{"HostConfig":{"Devices":[{"PathOnHost":"/dev/null","PathInContainer":"/dev/x","CgroupPermissions":"r"}]}}`,
	"HostConfig.Devices.PathInContainer":     `{"HostConfig":{"Devices":[{"PathOnHost":"/dev/null","PathInContainer":"/dev/x","CgroupPermissions":"r"}]}}`,
	"HostConfig.Devices.CgroupPermissions":   `{"HostConfig":{"Devices":[{"PathOnHost":"/dev/null","PathInContainer":"/dev/x","CgroupPermissions":"r"}]}}`,
	"HostConfig.DeviceCgroupRules":           `{"HostConfig":{"DeviceCgroupRules":["c 1:3 r"]}}`,
	"HostConfig.DeviceRequests.Driver":       `{"HostConfig":{"DeviceRequests":[{"Driver":"cdi"}]}}`,
	"HostConfig.DeviceRequests.Count":        `{"HostConfig":{"DeviceRequests":[{"Count":1}]}}`,
	"HostConfig.DeviceRequests.DeviceIDs":    `{"HostConfig":{"DeviceRequests":[{"DeviceIDs":["0"]}]}}`,
	"HostConfig.DeviceRequests.Capabilities": `{"HostConfig":{"DeviceRequests":[{"Capabilities":[["gpu"]]}]}}`,
	"HostConfig.DeviceRequests.Options":      `{"HostConfig":{"DeviceRequests":[{"Options":{"a":"b"}}]}}`,
	"HostConfig.MemoryReservation":           `{"HostConfig":{"MemoryReservation":8388608}}`,
	"HostConfig.MemorySwap":                  `{"HostConfig":{"Memory":8388608,"MemorySwap":-1}}`,
	"HostConfig.MemorySwappiness":            `{"HostConfig":{"MemorySwappiness":0}}`,
	"HostConfig.OomKillDisable":              `{"HostConfig":{"OomKillDisable":true}}`,
	"HostConfig.PidsLimit":                   `{"HostConfig":{"PidsLimit":9}}`,
	"HostConfig.Ulimits.Name":                `{"HostConfig":{"Ulimits":[{"Name":"nofile","Soft":8,"Hard":9}]}}`,
	"HostConfig.Ulimits.Soft":                `{"HostConfig":{"Ulimits":[{"Name":"nofile","Soft":8,"Hard":9}]}}`,
	"HostConfig.Ulimits.Hard":                `{"HostConfig":{"Ulimits":[{"Name":"nofile","Soft":8,"Hard":9}]}}`,
	"HostConfig.CPUCount":                    `{"HostConfig":{"CpuCount":1}}`,
	"HostConfig.CPUPercent":                  `{"HostConfig":{"CpuPercent":1}}`,
	"HostConfig.IOMaximumIOps":               `{"HostConfig":{"IOMaximumIOps":1}}`,
	"HostConfig.IOMaximumBandwidth":          `{"HostConfig":{"IOMaximumBandwidth":1}}`,

	"HostConfig.Mounts.Type":                               `{"HostConfig":{"Mounts":[{"Type":"npipe","Target":"/m"}]}}`,
	"HostConfig.Mounts.Source":                             `{"HostConfig":{"Mounts":[{"Type":"volume","Source":"named","Target":"/m"}]}}`,
	"HostConfig.Mounts.Target":                             `{"HostConfig":{"Mounts":[{"Type":"volume","Target":"/m"}]}}`,
	"HostConfig.Mounts.ReadOnly":                           `{"HostConfig":{"Mounts":[{"Type":"volume","Target":"/m","ReadOnly":true}]}}`,
	"HostConfig.Mounts.Consistency":                        `{"HostConfig":{"Mounts":[{"Type":"volume","Target":"/m","Consistency":"cached"}]}}`,
	"HostConfig.Mounts.BindOptions.Propagation":            `{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/","Target":"/m","BindOptions":{"Propagation":"rslave"}}]}}`,
	"HostConfig.Mounts.BindOptions.NonRecursive":           `{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/","Target":"/m","BindOptions":{"NonRecursive":true}}]}}`,
	"HostConfig.Mounts.BindOptions.CreateMountpoint":       `{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/","Target":"/m","BindOptions":{"CreateMountpoint":true}}]}}`,
	"HostConfig.Mounts.BindOptions.ReadOnlyNonRecursive":   `{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/","Target":"/m","ReadOnly":true,"BindOptions":{"ReadOnlyNonRecursive":true}}]}}`,
	"HostConfig.Mounts.BindOptions.ReadOnlyForceRecursive": `{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/","Target":"/m","ReadOnly":true,"BindOptions":{"ReadOnlyForceRecursive":true}}]}}`,
	"HostConfig.Mounts.VolumeOptions.NoCopy":               `{"HostConfig":{"Mounts":[{"Type":"volume","Target":"/m","VolumeOptions":{"NoCopy":true}}]}}`,
	"HostConfig.Mounts.VolumeOptions.Labels":               `{"HostConfig":{"Mounts":[{"Type":"volume","Source":"named","Target":"/m","VolumeOptions":{"Labels":{"a":"b"}}}]}}`,
	"HostConfig.Mounts.VolumeOptions.Subpath":              `{"HostConfig":{"Mounts":[{"Type":"volume","Source":"named","Target":"/m","VolumeOptions":{"Subpath":"s"}}]}}`,
	"HostConfig.Mounts.VolumeOptions.DriverConfig.Name":    `{"HostConfig":{"Mounts":[{"Type":"volume","Source":"named","Target":"/m","VolumeOptions":{"DriverConfig":{"Name":"other"}}}]}}`,
	"HostConfig.Mounts.VolumeOptions.DriverConfig.Options": `{"HostConfig":{"Mounts":[{"Type":"volume","Source":"named","Target":"/m","VolumeOptions":{"DriverConfig":{"Options":{"type":"tmpfs"}}}}]}}`,
	"HostConfig.Mounts.ImageOptions.Subpath":               `{"HostConfig":{"Mounts":[{"Type":"image","Source":"busybox","Target":"/m","ImageOptions":{"Subpath":"s"}}]}}`,
	"HostConfig.Mounts.TmpfsOptions.SizeBytes":             `{"HostConfig":{"Mounts":[{"Type":"tmpfs","Target":"/m","TmpfsOptions":{"SizeBytes":4096}}]}}`,
	"HostConfig.Mounts.TmpfsOptions.Mode":                  `{"HostConfig":{"Mounts":[{"Type":"tmpfs","Target":"/m","TmpfsOptions":{"Mode":448}}]}}`,
	"HostConfig.Mounts.TmpfsOptions.Options":               `{"HostConfig":{"Mounts":[{"Type":"tmpfs","Target":"/m","TmpfsOptions":{"Options":[["exec"]]}}]}}`,
	"HostConfig.Mounts.ClusterOptions":                     `{"HostConfig":{"Mounts":[{"Type":"cluster","Source":"x","Target":"/m","ClusterOptions":{}}]}}`,

	"NetworkingConfig.EndpointsConfig.IPAMConfig.IPv4Address":  `{"NetworkingConfig":{"EndpointsConfig":{"net":{"IPAMConfig":{"IPv4Address":"192.0.2.7"}}}}}`,
	"NetworkingConfig.EndpointsConfig.IPAMConfig.IPv6Address":  `{"NetworkingConfig":{"EndpointsConfig":{"net":{"IPAMConfig":{"IPv6Address":"fd00::7"}}}}}`,
	"NetworkingConfig.EndpointsConfig.IPAMConfig.LinkLocalIPs": `{"NetworkingConfig":{"EndpointsConfig":{"net":{"IPAMConfig":{"LinkLocalIPs":["169.254.1.1"]}}}}}`,
	"NetworkingConfig.EndpointsConfig.Links":                   `{"NetworkingConfig":{"EndpointsConfig":{"net":{"Links":["other:alias"]}}}}`,
	"NetworkingConfig.EndpointsConfig.Aliases":                 `{"NetworkingConfig":{"EndpointsConfig":{"net":{"Aliases":["alias"]}}}}`,
	"NetworkingConfig.EndpointsConfig.DriverOpts":              `{"NetworkingConfig":{"EndpointsConfig":{"net":{"DriverOpts":{"com.docker.network.endpoint.ifname":"lan0"}}}}}`,
	"NetworkingConfig.EndpointsConfig.GwPriority":              `{"NetworkingConfig":{"EndpointsConfig":{"net":{"GwPriority":3}}}}`,
	"NetworkingConfig.EndpointsConfig.MacAddress":              `{"NetworkingConfig":{"EndpointsConfig":{"net":{"MacAddress":"02:42:ac:11:65:43"}}}}`,
	"NetworkingConfig.EndpointsConfig.NetworkID":               `{"NetworkingConfig":{"EndpointsConfig":{"net":{"NetworkID":"x"}}}}`,
	"NetworkingConfig.EndpointsConfig.EndpointID":              `{"NetworkingConfig":{"EndpointsConfig":{"net":{"EndpointID":"x"}}}}`,
	"NetworkingConfig.EndpointsConfig.Gateway":                 `{"NetworkingConfig":{"EndpointsConfig":{"net":{"Gateway":"192.0.2.1"}}}}`,
	"NetworkingConfig.EndpointsConfig.IPAddress":               `{"NetworkingConfig":{"EndpointsConfig":{"net":{"IPAddress":"192.0.2.2"}}}}`,
	"NetworkingConfig.EndpointsConfig.IPPrefixLen":             `{"NetworkingConfig":{"EndpointsConfig":{"net":{"IPPrefixLen":24}}}}`,
	"NetworkingConfig.EndpointsConfig.IPv6Gateway":             `{"NetworkingConfig":{"EndpointsConfig":{"net":{"IPv6Gateway":"fd00::1"}}}}`,
	"NetworkingConfig.EndpointsConfig.GlobalIPv6Address":       `{"NetworkingConfig":{"EndpointsConfig":{"net":{"GlobalIPv6Address":"fd00::2"}}}}`,
	"NetworkingConfig.EndpointsConfig.GlobalIPv6PrefixLen":     `{"NetworkingConfig":{"EndpointsConfig":{"net":{"GlobalIPv6PrefixLen":64}}}}`,
	"NetworkingConfig.EndpointsConfig.DNSNames":                `{"NetworkingConfig":{"EndpointsConfig":{"net":{"DNSNames":["x"]}}}}`,
}

// fields are the paths of the body's fields, but for those of types of the standard library.
func fields(of reflect.Type, path string, add func(string)) {
	switch of.Kind() { //nolint:exhaustive // others have no fields
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if e := of.Elem(); e.Kind() != reflect.Uint8 && (of.Kind() != reflect.Map || e.Kind() != reflect.Struct || e.NumField() > 0) {
			fields(e, path, add)
			return
		}
	case reflect.Struct:
		if of.NumField() > 0 && strings.Contains(of.PkgPath(), ".") || of.PkgPath() == reflect.TypeFor[Body]().PkgPath() {
			for f := range of.Fields() {
				below := strings.TrimPrefix(path+"."+f.Name, ".")
				if f.Anonymous && f.Name != "Config" {
					below = path
				}
				fields(f.Type, below, add)
			}
			return
		}
	}
	add(path)
}

// Every field of docker's types has a treatment, and a sample that proves it: what is heeded makes another container or is
// refused, what is shown or told makes none, and warnings and refusals name the field. A new field of docker's fails here.
func TestEveryFieldIsTreated(t *testing.T) {
	t.Parallel()
	left := map[string]bool{}
	for path := range samples {
		left[path] = true
	}
	fields(reflect.TypeFor[Body](), "", func(path string) {
		if path == "Config.Image" { // names the image that New is given
			delete(left, path)
			return
		}
		sample, ok := samples[path]
		delete(left, path)
		if !ok {
			t.Errorf("%s: no sample shows what becomes of it", path)
			return
		}
		base, _, _ := outcome(t, without(t, sample, path))
		with, warnings, err := outcome(t, sample)
		name := path[strings.LastIndexByte(path, '.')+1:]
		named := func(text string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(name)) }
		switch treatment := Treatments[path]; treatment {
		case "", Heeded:
			if err == nil && with == base {
				t.Errorf("%s: passes in silence", path)
			}
		case Shown, Told:
			if err != nil || with != base {
				t.Errorf("%s: %v\n%s\n%s", path, err, base, with)
			}
		case Warned:
			if err != nil || len(warnings) == 0 || !named(warnings[len(warnings)-1]) {
				t.Errorf("%s: %v, warnings %q", path, err, warnings)
			}
		case Refused:
			if err == nil || !named(err.Error()) {
				t.Errorf("%s: %v", path, err)
			}
		}
	})
	for path := range left {
		t.Errorf("%s: there is no such field", path)
	}
	for path := range Treatments {
		if _, ok := samples[path]; !ok {
			t.Errorf("%s: there is no such field", path)
		}
	}
}

// without is a sample without the value of the field itself.
func without(t *testing.T, sample, path string) string {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal([]byte(sample), &b); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	parts := strings.Split(strings.TrimPrefix(path, "Config."), ".")
	var drop func(v any, parts []string)
	drop = func(v any, parts []string) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				drop(e, parts)
			}
		case map[string]any:
			for key, below := range v {
				switch {
				case !strings.EqualFold(key, parts[0]):
					if len(v) == 1 && (strings.Contains(key, "/") || key == "net") { // a map's key
						drop(below, parts)
					}
				case len(parts) == 1:
					delete(v, key)
				default:
					drop(below, parts[1:])
				}
			}
		}
	}
	drop(b, parts)
	if reflect.DeepEqual(parts, []string{"HostConfig", "Mounts", "Type"}) || reflect.DeepEqual(parts, []string{"HostConfig", "Mounts", "Target"}) {
		return `{}` // a mount without them is none
	}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// aHost has one network, and one container.
var aHost = Host{
	Network: func(ref string) (string, error) {
		if ref != "net" {
			return "", errors.New("network " + ref + " not found")
		}
		return ref, nil
	},
	Container: func(ref string) (string, error) {
		if ref != "other" {
			return "", errors.New("No such container: " + ref)
		}
		return strings.Repeat("0", 64), nil
	},
}

// outcome is what a body makes: the configuration and the volumes as text, but for what inspect alone shows.
func outcome(t *testing.T, body string) (text string, warnings []string, err error) {
	t.Helper()
	c, w, err := translate(t, body)
	if err != nil {
		return err.Error(), nil, err
	}
	c.Docker = nil
	made, err := json.Marshal([]any{c, w.Volumes, w.Service.VolumesFrom})
	if err != nil {
		t.Fatal(err)
	}
	return string(made), w.Warnings, nil
}

// anImage has a bit of everything.
var anImage = container.Image{
	ID: "sha256:1", Cmd: []string{"run"}, Env: []string{"PATH=/bin", "A=image"}, Labels: map[string]string{"l": "image"}, ExposedPorts: []string{"90/tcp"}, Volumes: []string{"/image"},
	Health: &supervise.HealthCheck{Test: []string{"CMD", "image"}, Interval: time.Hour},
}

func translate(t *testing.T, body string) (container.Config, *Wanted, error) {
	t.Helper()
	var b Body
	if err := json.Unmarshal([]byte(body), &b); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if b.Config == nil {
		if err := json.Unmarshal([]byte(`{"Image":"busybox"}`), &b); err != nil {
			t.Fatal(err)
		}
	}
	w, err := New(b, anImage, aHost)
	if err != nil {
		return container.Config{}, nil, err
	}
	c, err := container.FromService(w.Project, w.Service, anImage)
	if err == nil {
		err = w.Finish(&c)
	}
	return c, w, err
}

// What cannot be is refused before anything is made, and says why.
func TestRefusals(t *testing.T) {
	t.Parallel()
	many := `["/0:/0"` + strings.Repeat(`,"/a:/b"`, 100_000) + `]`
	for body, want := range map[string]string{
		`{"Env":["=x"]}`: "invalid environment variable", `{"WorkingDir":"w"}`: "needs to be an absolute path", `{"Image":"a\u0000b"}`: "Image: \"a\\x00b\" has a NUL character",
		`{"Labels":{"a":"\u0000"}}`: "NUL", `{"Hostname":"a b"}`: "invalid hostname", `{"Hostname":"` + strings.Repeat("h", 65) + `"}`: "more than 64",
		`{"HostConfig":{"Binds":["../x:/a"]}}`: "If you intended to pass a host directory, use absolute path", `{"HostConfig":{"Binds":["a:b:c:d"]}}`: "invalid volume specification",
		`{"HostConfig":{"Binds":["..:/a"]}}`: "invalid characters", `{"HostConfig":{"Binds":["vol:/"]}}`: "destination can't be '/'", `{"HostConfig":{"Binds":["vol:rel"]}}`: "must be absolute",
		`{"HostConfig":{"Binds":["vol:/a:xx"]}}`: "invalid mode: xx", `{"HostConfig":{"Binds":["vol:/a","/b:/a/"]}}`: "Duplicate mount point: /a", `{"HostConfig":{"Binds":[""]}}`: "invalid volume specification",
		`{"HostConfig":{"Binds":` + many + `}}`: "100001 mounts are too many", `{"HostConfig":{"Mounts":[{"Type":"volume","Source":"../x","Target":"/a"}]}}`: "invalid characters",
		`{"HostConfig":{"Mounts":[{"Type":"volume","Source":"vol","Target":"/a","VolumeOptions":{"Subpath":"../x"}}]}}`: "subpath", `{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/nonesuch","Target":"/a"}]}}`: "bind source path does not exist: /nonesuch",
		`{"HostConfig":{"Mounts":[{"Type":"tmpfs","Target":"/a","TmpfsOptions":{"Options":[["a","b","c"]]}}]}}`: "no option", `{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/","Target":"/a","TmpfsOptions":{}}]}}`: "must not be specified",
		`{"HostConfig":{"NetworkMode":"nonesuch"}}`: "network nonesuch not found", `{"HostConfig":{"NetworkMode":"container:nonesuch"}}`: "No such container: nonesuch", `{"HostConfig":{"NetworkMode":"service:x"}}`: "is no network",
		`{"HostConfig":{"NetworkMode":"host"},"NetworkingConfig":{"EndpointsConfig":{"net":{}}}}`: "cannot be attached to other networks", `{"NetworkingConfig":{"EndpointsConfig":{"bridge":{"Aliases":["x"]}}}}`: "only for containers in user defined networks",
		`{"HostConfig":{"AutoRemove":true,"RestartPolicy":{"Name":"always"}}}`: "can't create 'AutoRemove' container with restart policy", `{"HostConfig":{"RestartPolicy":{"Name":"often"}}}`: "unknown policy 'often'",
		`{"HostConfig":{"RestartPolicy":{"Name":"always","MaximumRetryCount":2}}}`: "maximum retry count", `{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"99999"}]}}}`: "invalid port", `{"HostConfig":{"PortBindings":{"0/tcp":[{}]}}}`: "invalid port",
		`{"HostConfig":{"PortBindings":{"80/icmp":[{}]}}}`: "invalid proto", `{"HostConfig":{"ExtraHosts":["a:b"]}}`: "invalid IP address in add-host", `{"HostConfig":{"Memory":1}}`: "minimum memory limit allowed is 6MB",
		`{"HostConfig":{"NanoCpus":1,"CpuQuota":5000}}`: "conflicting options", `{"HostConfig":{"Ulimits":[null]}}`: "null", `{"HostConfig":{"ShmSize":-1}}`: "can not be less than 0", `{"HostConfig":{"SecurityOpt":["seccomp=/etc/passwd"]}}`: "Decoding seccomp profile failed",
		`{"HostConfig":{"BlkioWeightDevice":[null]}}`: "null", `{"HostConfig":{"ConsoleSize":[70000,1]}}`: "ConsoleSize", `{"Healthcheck":{"Test":["FOO"]}}`: "unknown kind", `{"Healthcheck":{"Interval":1}}`: "cannot be less than 1ms",
		`{"HostConfig":{"Links":["nonesuch:x"]}}`: "could not get container for nonesuch", `{"HostConfig":{"Tmpfs":{"t":""}}}`: "must be absolute",
	} {
		_, _, err := translate(t, body)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.200s: %v, want %q", body, err, want)
		}
	}
	if c, _, err := translate(t, `{"Entrypoint":[""],"Cmd":["x"]}`); err != nil || len(c.Entrypoint) > 0 || !slices.Equal(c.Command, []string{"x"}) {
		t.Errorf("no entrypoint: %q %q, %v", c.Entrypoint, c.Command, err)
	}
}

// What is left open is the image's, as docker merges it.
func TestMerged(t *testing.T) {
	t.Parallel()
	c, _, err := translate(t, `{"Env":["A=own","B=c"],"Labels":{"x":"y"},"Healthcheck":{"Retries":4}}`)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Docker.Config; !slices.Equal(got.Env, []string{"A=own", "B=c", "PATH=/bin"}) || got.Labels["l"] != "image" || got.Healthcheck.Test[1] != "image" || got.Healthcheck.Interval != time.Hour {
		t.Errorf("%+v", got)
	}
	if !slices.Equal(c.Env, []string{"A=own", "B=c", "PATH=/bin"}) || c.Health.Retries != 4 || c.Health.Interval != time.Hour || !slices.Equal(c.Command, []string{"run"}) {
		t.Errorf("%q %+v %q", c.Env, c.Health, c.Command)
	}
}
