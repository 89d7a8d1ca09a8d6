package createflags

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// parse reads flags as the commands do, and returns the body that comes of them as text.
func parse(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	set := pflag.NewFlagSet("run", pflag.ContinueOnError)
	set.SetInterspersed(false)
	set.SetOutput(discard{})
	f := Add(set)
	if err := set.Parse(args); err != nil {
		return "", err
	}
	if set.NArg() == 0 {
		return "", errors.New("no image")
	}
	env := func(name string) (string, bool) {
		return map[string]string{"HOME": "/home/u", "SET": "value"}[name], name == "HOME" || name == "SET"
	}
	r, err := f.Request(User{Dir: dir, Env: env}, set.Arg(0), set.Args()[1:])
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(r)
	return string(text), err
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// What each flag becomes in docker's API.
func TestFlags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"vars": "# no\nF=x y\nSET\nUNSET\n", "labels": "a=b\n", "profile": "{ \"defaultAction\" : \"X\" }"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct{ flags, want string }{
		{"-e A=b -e SET -e UNSET --env-file vars", `"Env":["F=x y","SET=value","A=b","SET=value","UNSET"]`},
		{"-l x=y --label-file labels", `"Labels":{"a":"b","x":"y"}`},
		{"-it", `"AttachStdin":true,"AttachStdout":true,"AttachStderr":true,"Tty":true,"OpenStdin":true,"StdinOnce":true`},
		{"-a STDOUT", `"AttachStdin":false,"AttachStdout":true,"AttachStderr":false`},
		{"--entrypoint=", `"Entrypoint":[""]`},
		{"--entrypoint e", `"Entrypoint":["e"]`},
		{"", `"Cmd":["cmd","-x"]`},
		{"-v data:/d -v ./x:/x:ro -v ~/y:/y -v /anon", `"Binds":["data:/d","` + dir + `/x:/x:ro","/home/u/y:/y"]`},
		{"-v /anon", `"Volumes":{"/anon":{}}`},
		{"--mount type=bind,src=./x,dst=/x,ro,bind-propagation=rslave", `"Mounts":[{"Type":"bind","Source":"` + dir + `/x","Target":"/x","ReadOnly":true,"BindOptions":{"Propagation":"rslave"}}]`},
		{"--mount dst=/x,volume-label=a=b,volume-opt=type=tmpfs", `"VolumeOptions":{"Labels":{"a":"b"},"DriverConfig":{"Options":{"type":"tmpfs"}}}`},
		{"--mount type=tmpfs,dst=/x,tmpfs-size=1k,tmpfs-mode=700", `"TmpfsOptions":{"SizeBytes":1024,"Mode":448}`},
		{"--tmpfs /t:size=1m", `"Tmpfs":{"/t":"size=1m"}`},
		{"-p 127.0.0.1:8080:80 -p 81/udp", `"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}],"81/udp":[{"HostIp":"","HostPort":""}]}`},
		{"-p [::1]:8080-8081:80-81", `"81/tcp":[{"HostIp":"::1","HostPort":"8081"}]`},
		{"-p published=8080,target=80", `"80/tcp":[{"HostIp":"","HostPort":"8080"}]`},
		{"--expose 90-91/udp", `"ExposedPorts":{"90/udp":{},"91/udp":{}}`},
		{"--network a --network b --ip 10.0.0.7 --net-alias w", `"NetworkMode":"a"`},
		{"--network name=n,alias=x,alias=y,ip=10.0.0.7,gw-priority=3,driver-opt=k=v", `"n":{"IPAMConfig":{"IPv4Address":"10.0.0.7"},"Links":null,"Aliases":["x","y"],"DriverOpts":{"k":"v"},"GwPriority":3`},
		{"--link c:d", `"Links":["c:d"]`},
		{"--network n --link c:d", `"Links":null,"OomScoreAdj"`},
		{"--restart on-failure:3", `"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}`},
		{"-m 64m --memory-swap -1 --cpus 1.5 --pids-limit 5 -c 7", `"CpuShares":7,"Memory":67108864,"NanoCpus":1500000000`},
		{"--memory-swap -1", `"MemorySwap":-1`},
		{"--memory-swappiness 0", `"MemorySwappiness":0`},
		{"--device /dev/a:/dev/b:r --device /dev/c:rw", `"Devices":[{"PathOnHost":"/dev/a","PathInContainer":"/dev/b","CgroupPermissions":"r"},{"PathOnHost":"/dev/c","PathInContainer":"/dev/c","CgroupPermissions":"rw"}]`},
		{"--device vendor.com/gpu=0", `"DeviceRequests":[{"Driver":"cdi","Count":0,"DeviceIDs":["vendor.com/gpu=0"]`},
		{"--gpus all", `"Count":-1,"DeviceIDs":null,"Capabilities":[["gpu"]]`},
		{"--ulimit nofile=1:2 --ulimit core=0", `"Ulimits":[{"Name":"core","Hard":0,"Soft":0},{"Name":"nofile","Hard":2,"Soft":1}]`},
		{"--sysctl a=b", `"Sysctls":{"a":"b"}`},
		{"--security-opt seccomp=profile", `"SecurityOpt":["seccomp={\"defaultAction\":\"X\"}"]`},
		{"--security-opt systempaths=unconfined", `"MaskedPaths":[],"ReadonlyPaths":[]`},
		{"--device-read-bps /dev/sda:1m --blkio-weight-device /dev/sda:20", `"BlkioDeviceReadBps":[{"Path":"/dev/sda","Rate":1048576}]`},
		{"--add-host a=::1 --dns 1.1.1.1", `"ExtraHosts":["a:::1"]`},
		{"--health-cmd x --health-interval 3s", `"Healthcheck":{"Test":["CMD-SHELL","x"],"Interval":3000000000}`},
		{"--no-healthcheck", `"Healthcheck":{"Test":["NONE"]}`},
		{"--stop-timeout 0", `"StopTimeout":0`},
		{"--init=false", `"Init":false`},
	} {
		got, err := parse(t, dir, append(strings.Fields(row.flags), "image", "cmd", "-x")...)
		if err != nil || !strings.Contains(got, row.want) {
			t.Errorf("%s: no %s in %s, %v", row.flags, row.want, got, err)
		}
	}
}

// What flags cannot be says which one it is.
func TestBadFlags(t *testing.T) {
	t.Parallel()
	for flags, want := range map[string]string{
		"-e =x": "invalid environment variable", "--env-file nonesuch": "--env-file: open ", "-a nothing": "valid streams are STDIN, STDOUT and STDERR", "--restart often": "unknown policy 'often'", "--restart on-failure:x": "must be an integer",
		"--rm --restart always": "cannot specify both --restart and --rm", "-p 80:x": "--publish", "--expose x": "--expose", "--ip x": "--ip", "--ip6 10.0.0.1": "--ip6", "--mac-address x": "x is not a valid mac address",
		"--network a --network a": `network "a" is specified multiple times`, "--network a --network host": "conflicting options", "--network-alias x": "only supported for user-defined networks", "--network name=n,x=y": "invalid field key x",
		"--mount type=bind,x=y": "unknown option 'x'", "--mount dst": "must be a key=value pair", "--mount type=bind,src=/a": "target is required", "--mount type=bind,dst=/a,tmpfs-size=1": "cannot mix 'tmpfs-*'", "--device a:b:c:d": "bad format",
		"--device /a:/b:x": "bad mode", "--gpus x": "invalid count", "--ulimit x": "--ulimit", "--sysctl x": "--sysctl", "-m x": "--memory", "--cpus x": "--cpus", "--cpus 0.0000000001": "too precise", "--memory-swappiness 101": "0-100",
		"--security-opt x": `invalid --security-opt: "x"`, "--security-opt seccomp=nonesuch": "opening seccomp profile (nonesuch) failed", "--pid x": "--pid: invalid PID mode", "--dns x": "--dns", "--add-host x": "bad format for add-host",
		"--device-read-bps x": "--device-read-bps", "--blkio-weight-device /dev/a:5": "--blkio-weight-device", "--no-healthcheck --health-cmd x": "conflicts", "--health-retries -1": "cannot be negative", "--log-driver none --log-opt a=b": "invalid logging opts",
		"--shm-size x": "--shm-size", "-l =x": "empty name",
	} {
		if got, err := parse(t, t.TempDir(), append(strings.Fields(flags), "image")...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q: %s", flags, err, want, got)
		}
	}
}
