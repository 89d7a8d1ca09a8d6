package fromdocker

import (
	"fmt"
	"strings"
)

// words are the names of compose's keys in docker's API.
var words = map[string]string{
	"mem_limit": "Memory", "memswap_limit": "MemorySwap", "mem_reservation": "MemoryReservation", "mem_swappiness": "MemorySwappiness",
	"cpus": "NanoCpus", "cpu_period": "CpuPeriod", "cpu_quota": "CpuQuota", "cpu_shares": "CpuShares", "cpuset": "CpusetCpus",
	"cpu_rt_period": "CpuRealtimePeriod", "cpu_rt_runtime": "CpuRealtimeRuntime", "pids_limit": "PidsLimit", "oom_score_adj": "OomScoreAdj",
	"blkio_config": "Blkio", "cgroup_parent": "CgroupParent", "ulimits": "Ulimits", "devices": "Devices", "device_cgroup_rules": "DeviceCgroupRules",
	"cap_add": "CapAdd", "cap_drop": "CapDrop", "security_opt": "SecurityOpt", "privileged": "Privileged", "sysctls": "Sysctls", "umask": "Umask",
	"storage_opt": "StorageOpt", "pid": "PidMode", "ipc": "IpcMode", "uts": "UTSMode", "cgroup": "CgroupnsMode", "userns_mode": "UsernsMode",
	"isolation": "Isolation", "runtime": "Runtime", "network_mode": "NetworkMode", "networks": "NetworkingConfig", "mac_address": "MacAddress",
	"ipv4_address": "IPv4Address", "ipv6_address": "IPv6Address", "link_local_ips": "LinkLocalIPs", "ports": "PortBindings", "expose": "ExposedPorts",
	"dns": "Dns", "extra_hosts": "ExtraHosts", "links": "Links", "external_links": "Links", "volumes": "Mounts", "volumes_from": "VolumesFrom",
	"tmpfs": "Tmpfs", "hostname": "Hostname", "logging": "LogConfig",
}

// inWords is an error in docker's words, which may begin with a field's name.
func inWords(format string, args ...any) error { return fmt.Errorf(format, args...) }

// InWords is an error with docker's names of what is wrong, where it begins with compose's.
func InWords(err error) error {
	text := err.Error()
	keys, rest, ok := strings.Cut(text, ": ")
	if !ok {
		return err
	}
	names := strings.Split(keys, ", ")
	for i, k := range names {
		k, below, _ := strings.Cut(k, ".")
		word, known := words[k]
		if !known {
			return err
		}
		if below != "" {
			word += " " + below
		}
		names[i] = word
	}
	return said{text: strings.Join(names, ", ") + ": " + rest, err: err}
}

// said is an error in other words.
type said struct {
	text string
	err  error
}

func (s said) Error() string { return s.text }
func (s said) Unwrap() error { return s.err }
