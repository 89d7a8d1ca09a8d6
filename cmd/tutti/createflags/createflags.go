// Package createflags reads the flags of docker run, create and update: what they say becomes the body of POST
// /containers/create (or update) of docker's API. Relative paths are made absolute, and files and variables are read in the
// user's name, so that the engine need know none of them. Values are checked where the engine could not name the flag.
package createflags

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/spf13/pflag"
)

// User is whose flags they are.
type User struct {
	Dir string                      // the working folder
	Env func(string) (string, bool) // the environment
}

func (u User) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(u.Dir, p)
}

func (u User) read(p string) (string, error) {
	b, err := os.ReadFile(u.path(p))
	return string(b), err
}

// Flags are the values of the flags.
type Flags struct {
	CIDFile    string
	AutoRemove bool
	Attach     []string // stdin, stdout, stderr

	limits limits

	env, envFiles, labels, labelFiles, annotations                    []string
	entrypoint, hostname, domainname, user, workdir                   string
	stopSignal, restart                                               string
	interactive, tty, readOnly, init, privileged, publishAll          bool
	stopTimeout, oomScoreAdj                                          int
	groups, sysctls, ulimits, capAdd, capDrop, security, storage      []string
	devices, deviceRules, gpus                                        []string
	userns, cgroupns, pid, ipc, uts, isolation, runtime, cgroupParent string
	networks, aliases, links, linkLocal, hosts                        []string
	dns, dnsOptions, dnsSearch, expose, publish                       []string
	mac, ip, ip6                                                      string
	logDriver, volumeDriver, shmSize                                  string
	logOptions, volumes, volumesFrom, mounts, tmpfs                   []string
	oomKillDisable, noHealth                                          bool
	swappiness                                                        int64
	weightDevices, readBps, writeBps, readIOPS, writeIOPS             []string
	healthCommand                                                     string
	healthInterval, healthTimeout, healthStart, healthStartInterval   time.Duration
	healthRetries                                                     int

	set *pflag.FlagSet
}

// Add gives a command docker's flags of create, and of run as far as they are about the container.
func Add(set *pflag.FlagSet) *Flags {
	f := &Flags{set: set}
	f.addProcess(set)
	f.addConfinement(set)
	f.addNetwork(set)
	f.addStorage(set)
	f.addHealth(set)
	f.addResources(set)
	return f
}

func (f *Flags) addProcess(set *pflag.FlagSet) {
	set.StringArrayVarP(&f.Attach, "attach", "a", nil, "Attach to STDIN, STDOUT or STDERR")
	set.StringArrayVar(&f.annotations, "annotation", nil, "Add an annotation to the container (passed through to the OCI runtime)")
	set.StringVar(&f.CIDFile, "cidfile", "", "Write the container ID to the file")
	set.StringArrayVarP(&f.env, "env", "e", nil, "Set environment variables")
	set.StringArrayVar(&f.envFiles, "env-file", nil, "Read in a file of environment variables")
	set.StringVar(&f.entrypoint, "entrypoint", "", "Overwrite the default ENTRYPOINT of the image")
	set.StringArrayVar(&f.groups, "group-add", nil, "Add additional groups to join")
	set.StringVarP(&f.hostname, "hostname", "h", "", "Container host name")
	set.StringVar(&f.domainname, "domainname", "", "Container NIS domain name")
	set.BoolVar(&f.init, "init", false, "Run an init inside the container that forwards signals and reaps processes")
	set.BoolVarP(&f.interactive, "interactive", "i", false, "Keep STDIN open even if not attached")
	set.StringArrayVarP(&f.labels, "label", "l", nil, "Set meta data on a container")
	set.StringArrayVar(&f.labelFiles, "label-file", nil, "Read in a line delimited file of labels")
	set.StringVar(&f.restart, "restart", "no", "Restart policy to apply when a container exits")
	set.BoolVar(&f.AutoRemove, "rm", false, "Automatically remove the container and its associated anonymous volumes when it exits")
	set.StringVar(&f.stopSignal, "stop-signal", "", "Signal to stop the container")
	set.IntVar(&f.stopTimeout, "stop-timeout", 0, "Timeout (in seconds) to stop a container")
	set.BoolVarP(&f.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	set.StringVarP(&f.user, "user", "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	set.StringVarP(&f.workdir, "workdir", "w", "", "Working directory inside the container")
}

func (f *Flags) addConfinement(set *pflag.FlagSet) {
	set.StringArrayVar(&f.capAdd, "cap-add", nil, "Add Linux capabilities")
	set.StringArrayVar(&f.capDrop, "cap-drop", nil, "Drop Linux capabilities")
	set.StringVar(&f.cgroupParent, "cgroup-parent", "", "Optional parent cgroup for the container")
	set.StringVar(&f.cgroupns, "cgroupns", "", "Cgroup namespace to use (host|private)")
	set.StringArrayVar(&f.devices, "device", nil, "Add a host device to the container")
	set.StringArrayVar(&f.deviceRules, "device-cgroup-rule", nil, "Add a rule to the cgroup allowed devices list")
	set.StringArrayVar(&f.gpus, "gpus", nil, "GPU devices to add to the container ('all' to pass all GPUs)")
	set.StringVar(&f.ipc, "ipc", "", "IPC mode to use")
	set.StringVar(&f.isolation, "isolation", "", "Container isolation technology")
	set.StringVar(&f.pid, "pid", "", "PID namespace to use")
	set.BoolVar(&f.privileged, "privileged", false, "Give extended privileges to this container")
	set.BoolVar(&f.readOnly, "read-only", false, "Mount the container's root filesystem as read only")
	set.StringVar(&f.runtime, "runtime", "", "Runtime to use for this container")
	set.StringArrayVar(&f.security, "security-opt", nil, "Security Options")
	set.StringArrayVar(&f.sysctls, "sysctl", nil, "Sysctl options")
	set.StringArrayVar(&f.ulimits, "ulimit", nil, "Ulimit options")
	set.StringVar(&f.userns, "userns", "", "User namespace to use")
	set.StringVar(&f.uts, "uts", "", "UTS namespace to use")
}

func (f *Flags) addNetwork(set *pflag.FlagSet) {
	set.StringArrayVar(&f.hosts, "add-host", nil, "Add a custom host-to-IP mapping (host:ip)")
	set.StringArrayVar(&f.dns, "dns", nil, "Set custom DNS servers")
	set.StringArrayVar(&f.dnsOptions, "dns-option", nil, "Set DNS options")
	set.StringArrayVar(&f.dnsSearch, "dns-search", nil, "Set custom DNS search domains")
	set.StringArrayVar(&f.expose, "expose", nil, "Expose a port or a range of ports")
	set.StringVar(&f.ip, "ip", "", "IPv4 address (e.g., 172.30.100.104)")
	set.StringVar(&f.ip6, "ip6", "", "IPv6 address (e.g., 2001:db8::33)")
	set.StringArrayVar(&f.links, "link", nil, "Add link to another container")
	set.StringArrayVar(&f.linkLocal, "link-local-ip", nil, "Container IPv4/IPv6 link-local addresses")
	set.StringVar(&f.mac, "mac-address", "", "Container MAC address (e.g., 92:d0:c6:0a:29:33)")
	set.StringArrayVar(&f.networks, "network", nil, "Connect a container to a network")
	set.StringArrayVar(&f.aliases, "network-alias", nil, "Add network-scoped alias for the container")
	set.StringArrayVarP(&f.publish, "publish", "p", nil, "Publish a container's port(s) to the host")
	set.BoolVarP(&f.publishAll, "publish-all", "P", false, "Publish all exposed ports to random ports")
	set.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name { // older names
		case "net":
			name = "network"
		case "net-alias":
			name = "network-alias"
		case "dns-opt":
			name = "dns-option"
		}
		return pflag.NormalizedName(name)
	})
}

func (f *Flags) addStorage(set *pflag.FlagSet) {
	set.StringVar(&f.logDriver, "log-driver", "", "Logging driver for the container")
	set.StringArrayVar(&f.logOptions, "log-opt", nil, "Log driver options")
	set.StringArrayVar(&f.mounts, "mount", nil, "Attach a filesystem mount to the container")
	set.StringVar(&f.shmSize, "shm-size", "", "Size of /dev/shm")
	set.StringArrayVar(&f.storage, "storage-opt", nil, "Storage driver options for the container")
	set.StringArrayVar(&f.tmpfs, "tmpfs", nil, "Mount a tmpfs directory")
	set.StringArrayVarP(&f.volumes, "volume", "v", nil, "Bind mount a volume")
	set.StringVar(&f.volumeDriver, "volume-driver", "", "Optional volume driver for the container")
	set.StringArrayVar(&f.volumesFrom, "volumes-from", nil, "Mount volumes from the specified container(s)")
}

func (f *Flags) addHealth(set *pflag.FlagSet) {
	set.StringVar(&f.healthCommand, "health-cmd", "", "Command to run to check health")
	set.DurationVar(&f.healthInterval, "health-interval", 0, "Time between running the check (ms|s|m|h) (default 0s)")
	set.IntVar(&f.healthRetries, "health-retries", 0, "Consecutive failures needed to report unhealthy")
	set.DurationVar(&f.healthStartInterval, "health-start-interval", 0, "Time between running the check during the start period (ms|s|m|h) (default 0s)")
	set.DurationVar(&f.healthStart, "health-start-period", 0, "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)")
	set.DurationVar(&f.healthTimeout, "health-timeout", 0, "Maximum time to allow one check to run (ms|s|m|h) (default 0s)")
	set.BoolVar(&f.noHealth, "no-healthcheck", false, "Disable any container-specified HEALTHCHECK")
}

func (f *Flags) addResources(set *pflag.FlagSet) {
	f.limits.add(set)
	set.StringArrayVar(&f.weightDevices, "blkio-weight-device", nil, "Block IO weight (relative device weight)")
	set.StringArrayVar(&f.readBps, "device-read-bps", nil, "Limit read rate (bytes per second) from a device")
	set.StringArrayVar(&f.readIOPS, "device-read-iops", nil, "Limit read rate (IO per second) from a device")
	set.StringArrayVar(&f.writeBps, "device-write-bps", nil, "Limit write rate (bytes per second) to a device")
	set.StringArrayVar(&f.writeIOPS, "device-write-iops", nil, "Limit write rate (IO per second) to a device")
	set.Int64Var(&f.swappiness, "memory-swappiness", -1, "Tune container memory swappiness (0 to 100)")
	set.BoolVar(&f.oomKillDisable, "oom-kill-disable", false, "Disable OOM Killer")
	set.IntVar(&f.oomScoreAdj, "oom-score-adj", 0, "Tune host's OOM preferences (-1000 to 1000)")
}

// Request is the container that the flags describe, of an image and with a command; without one it is the image's.
func (f *Flags) Request(u User, image string, command []string) (apicontainer.CreateRequest, error) {
	r := apicontainer.CreateRequest{
		Config:           &apicontainer.Config{Image: image, Cmd: command},
		HostConfig:       &apicontainer.HostConfig{},
		NetworkingConfig: &apinetwork.NetworkingConfig{},
	}
	if f.AutoRemove && f.restart != "no" && f.restart != "" {
		return r, errors.New("conflicting options: cannot specify both --restart and --rm")
	}
	for _, step := range []func(User, *apicontainer.CreateRequest) error{
		f.process, f.streams, f.confinement, f.network, f.ports, f.storageOf, f.health, f.resources,
	} {
		if err := step(u, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (f *Flags) process(u User, r *apicontainer.CreateRequest) (err error) {
	c, h := r.Config, r.HostConfig
	c.Hostname, c.Domainname, c.User, c.WorkingDir, c.StopSignal = f.hostname, f.domainname, f.user, f.workdir, f.stopSignal
	switch {
	case f.entrypoint != "":
		c.Entrypoint = []string{f.entrypoint}
	case f.set.Changed("entrypoint"):
		c.Entrypoint = []string{""} // none, and not the image's
	}
	if f.set.Changed("stop-timeout") {
		c.StopTimeout = &f.stopTimeout
	}
	if f.set.Changed("init") {
		h.Init = &f.init
	}
	if c.Env, err = u.variables("env-file", f.envFiles, f.env); err != nil {
		return err
	}
	labels, err := u.lines("label-file", f.labelFiles)
	if err != nil {
		return err
	}
	for _, l := range f.labels {
		if name, _, _ := strings.Cut(l, "="); name == "" {
			return fmt.Errorf("invalid label '%s': empty name", l)
		}
	}
	c.Labels = pairs(append(labels, f.labels...))
	h.Annotations, h.GroupAdd, h.AutoRemove, h.ContainerIDFile = pairs(f.annotations), f.groups, f.AutoRemove, f.CIDFile
	h.RestartPolicy, err = restartPolicy(f.restart)
	return err
}

// streams are whose ends are here.
func (f *Flags) streams(_ User, r *apicontainer.CreateRequest) error {
	c := r.Config
	c.Tty, c.OpenStdin, c.AttachStdin = f.tty, f.interactive, f.interactive
	c.AttachStdout, c.AttachStderr = len(f.Attach) == 0, len(f.Attach) == 0
	for _, name := range f.Attach {
		switch strings.ToLower(name) {
		case "stdin":
			c.AttachStdin = true
		case "stdout":
			c.AttachStdout = true
		case "stderr":
			c.AttachStderr = true
		default:
			return fmt.Errorf("invalid argument %q for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR", name)
		}
	}
	c.StdinOnce = c.OpenStdin && c.AttachStdin
	return nil
}
