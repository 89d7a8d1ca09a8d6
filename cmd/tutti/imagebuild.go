package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tutti/cmd/tutti/buildflags"
	"tutti/scheduler/api"
)

// imageBuildFlags are docker build's flags as they are given.
type imageBuildFlags struct {
	args, labels, annotations, contexts, hosts, outputs, platforms []string
	secrets, ssh, tags, attests, ulimits, cacheFrom, cacheTo       []string
	noCacheFilter, allow                                           []string
	file, target, network, progress, provenance, sbom, builder     string
	iidFile, metadataFile, shmSize, memory, memorySwap, call       string
	cpuset, mems                                                   string
	cpuShares, cpuPeriod, cpuQuota                                 int64
	noCache, pull, quiet, push, load, check                        bool
}

func (a *app) imageBuildCommand() *cobra.Command {
	var b imageBuildFlags
	cmd := &cobra.Command{
		Use:   "build [OPTIONS] PATH | URL | -",
		Short: "Build an image from a Dockerfile",
		Args:  exactArgs(1),
		RunE: a.run(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			if b.progress != "auto" {
				a.progress = b.progress
			}
			if err := a.prepare(cmd, nil); err != nil {
				return err
			}
			if err := a.buildProgress(); err != nil {
				return err
			}
			q, stdin, err := a.imageBuildRequest(&b, args[0])
			if err != nil {
				return err
			}
			return a.buildOneImage(ctx, &b, q, stdin)
		}),
	}
	b.sources(cmd.Flags())
	b.results(cmd.Flags())
	b.steps(cmd.Flags())
	for _, name := range []string{"compress", "rm", "force-rm"} { // docker takes them and does nothing
		cmd.Flags().Bool(name, name == "rm", "without effect")
		_ = cmd.Flags().MarkHidden(name) // it is there
	}
	refuse(cmd, refusal{name: "squash", isBool: true}, refusal{name: "security-opt"}, refusal{name: "isolation"}, refusal{name: "cgroup-parent"},
		refusal{name: "policy"}, refusal{name: "disable-content-trust", isBool: true})
	return cmd
}

// sources are the flags about what is built.
func (b *imageBuildFlags) sources(f *pflag.FlagSet) {
	f.StringVarP(&b.file, "file", "f", "", `Name of the Dockerfile (default: "PATH/Dockerfile")`)
	f.StringVar(&b.target, "target", "", "Set the target build stage to build")
	f.StringArrayVar(&b.args, "build-arg", nil, "Set build-time variables")
	f.StringArrayVar(&b.contexts, "build-context", nil, "Additional build contexts (e.g., name=path)")
	f.StringArrayVar(&b.cacheFrom, "cache-from", nil, `External cache sources (e.g., "user/app:cache", "type=local,src=path/to/dir")`)
	f.StringArrayVar(&b.cacheTo, "cache-to", nil, `Cache export destinations (e.g., "user/app:cache", "type=local,dest=path/to/dir")`)
	f.BoolVar(&b.noCache, "no-cache", false, "Do not use cache when building the image")
	f.StringArrayVar(&b.noCacheFilter, "no-cache-filter", nil, "Do not cache specified stages")
	f.BoolVar(&b.pull, "pull", false, "Always attempt to pull all referenced images")
	f.StringArrayVar(&b.platforms, "platform", nil, "Set target platform for build")
	f.StringVar(&b.builder, "builder", "", `Override the configured builder instance: there is one, "default"`)
}

// results are the flags about what comes of it.
func (b *imageBuildFlags) results(f *pflag.FlagSet) {
	f.StringArrayVarP(&b.tags, "tag", "t", nil, `Image identifier (format: "[registry/]repository[:tag]")`)
	f.StringArrayVar(&b.labels, "label", nil, "Set metadata for an image")
	f.StringArrayVar(&b.annotations, "annotation", nil, "Add annotation to the image")
	f.StringArrayVarP(&b.outputs, "output", "o", nil, `Output destination (format: "type=local,dest=path")`)
	f.BoolVar(&b.load, "load", false, `Shorthand for "--output=type=docker"`)
	f.BoolVar(&b.push, "push", false, `Shorthand for "--output=type=registry"`)
	f.StringVar(&b.iidFile, "iidfile", "", "Write the image ID to a file")
	f.StringVar(&b.metadataFile, "metadata-file", "", "Write build result metadata to a file")
	f.StringArrayVar(&b.attests, "attest", nil, `Attestation parameters (format: "type=sbom,generator=image")`)
	f.StringVar(&b.provenance, "provenance", "", `Shorthand for "--attest=type=provenance"`)
	f.StringVar(&b.sbom, "sbom", "", `Shorthand for "--attest=type=sbom"`)
	f.StringVar(&b.call, "call", "build", `Set method for evaluating build ("build", "check")`)
	f.BoolVar(&b.check, "check", false, `Shorthand for "--call=check"`)
	f.BoolVarP(&b.quiet, "quiet", "q", false, "Suppress the build output and print image ID on success")
	f.StringVar(&b.progress, "progress", "auto", `Set type of progress output ("auto", "none", "plain", "quiet", "rawjson", "tty"). Use plain to show container output`)
}

// steps are the flags about RUN steps.
func (b *imageBuildFlags) steps(f *pflag.FlagSet) {
	f.StringSliceVar(&b.hosts, "add-host", nil, `Add a custom host-to-IP mapping (format: "host:ip")`)
	f.StringArrayVar(&b.allow, "allow", nil, `Allow extra privileged entitlement (e.g., "network.host", "security.insecure")`)
	f.StringVar(&b.network, "network", "default", `Set the networking mode for the "RUN" instructions during build`)
	f.StringArrayVar(&b.secrets, "secret", nil, `Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")`)
	f.StringArrayVar(&b.ssh, "ssh", nil, `SSH agent socket or keys to expose to the build (format: "default|<id>[=<socket>|<key>[,<key>]]")`)
	f.StringVar(&b.shmSize, "shm-size", "", "Shared memory size for build containers")
	f.StringArrayVar(&b.ulimits, "ulimit", nil, "Ulimit options")
	f.StringVarP(&b.memory, "memory", "m", "", "Memory limit")
	f.StringVar(&b.memorySwap, "memory-swap", "", `Swap limit equal to memory plus swap: "-1" to enable unlimited swap`)
	f.Int64VarP(&b.cpuShares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	f.Int64Var(&b.cpuPeriod, "cpu-period", 0, "Limit the CPU CFS (Completely Fair Scheduler) period")
	f.Int64Var(&b.cpuQuota, "cpu-quota", 0, "Limit the CPU CFS (Completely Fair Scheduler) quota")
	f.StringVar(&b.cpuset, "cpuset-cpus", "", `CPUs in which to allow execution ("0-3", "0,1")`)
	f.StringVar(&b.mems, "cpuset-mems", "", `MEMs in which to allow execution ("0-3", "0,1")`)
}

// buildUser is whose flags those of builds are.
func (a *app) buildUser() buildflags.User {
	return buildflags.User{Dir: workingDir(), Env: a.env}
}

// workingDir is where relative paths begin. Where it has gone they are left as they are, and are not found.
func workingDir() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	return dir
}

// imageBuildRequest reads the flags. The reader is what the context or the Dockerfile - comes from.
func (a *app) imageBuildRequest(b *imageBuildFlags, where string) (q api.ImageBuildRequest, stdin io.Reader, err error) {
	if err := checkBuilder(b.builder); err != nil {
		return q, nil, err
	}
	switch b.call {
	case "build":
	case "check", "lint":
		b.check = true
	default:
		return q, nil, fmt.Errorf("--call %s is not supported: build or check", b.call)
	}
	q = api.ImageBuildRequest{
		Target: b.target, Tags: b.tags, CacheFrom: b.cacheFrom, CacheTo: b.cacheTo, NoCache: b.noCache, NoCacheFilter: b.noCacheFilter,
		Pull: b.pull, Network: b.network, Entitlements: b.allow, Check: b.check, Client: a.clientContext(),
	}
	for _, p := range b.platforms {
		q.Platforms = append(q.Platforms, strings.Split(p, ",")...)
	}
	if err := b.read(a.buildUser(), &q); err != nil {
		return q, nil, err
	}
	stdin, err = a.locateBuild(b, where, &q)
	return q, stdin, err
}

// read reads the flags with a notation of their own.
func (b *imageBuildFlags) read(u buildflags.User, q *api.ImageBuildRequest) (err error) {
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	q.Args, err = u.Pairs("build-arg", b.args, true)
	note(err)
	q.Labels, err = u.Pairs("label", b.labels, false)
	note(err)
	q.Annotations, err = u.Pairs("annotation", b.annotations, false)
	note(err)
	q.Contexts, err = u.Contexts(b.contexts)
	note(err)
	q.ExtraHosts, err = buildflags.Hosts(b.hosts)
	note(err)
	q.Provenance, q.SBOM, err = buildflags.Attestations(b.attests, b.provenance, b.sbom)
	note(err)
	for _, text := range b.secrets {
		s, err := u.Secret(text)
		note(err)
		q.Secrets = append(q.Secrets, s)
	}
	for _, text := range b.ssh {
		k, err := u.SSH(text)
		note(err)
		q.SSH = append(q.SSH, k)
	}
	for _, text := range b.outputs {
		o, err := u.Output(text)
		note(err)
		q.Outputs = append(q.Outputs, o)
	}
	if b.load {
		q.Outputs = append(q.Outputs, api.BuildOutput{Type: "docker"})
	}
	if b.push {
		q.Outputs = append(q.Outputs, api.BuildOutput{Type: "registry"})
	}
	note(b.readLimits(q))
	return errors.Join(errs...)
}

func (b *imageBuildFlags) readLimits(q *api.ImageBuildRequest) error {
	for _, text := range b.ulimits {
		l, err := units.ParseUlimit(text)
		if err != nil {
			return fmt.Errorf("invalid --ulimit %q: %w", text, err)
		}
		q.Ulimits = append(q.Ulimits, api.BuildUlimit{Name: l.Name, Soft: l.Soft, Hard: l.Hard})
	}
	q.Limits = api.BuildLimits{CPUShares: b.cpuShares, CPUPeriod: b.cpuPeriod, CPUQuota: b.cpuQuota, CPUs: b.cpuset, Mems: b.mems}
	for _, size := range []struct {
		flag, text string
		to         *int64
	}{{"shm-size", b.shmSize, &q.ShmSize}, {"memory", b.memory, &q.Limits.Memory}, {"memory-swap", b.memorySwap, &q.Limits.MemorySwap}} {
		if size.text == "" {
			continue
		}
		if size.text == "-1" && size.flag == "memory-swap" {
			*size.to = -1
			continue
		}
		n, err := units.RAMInBytes(size.text)
		if err != nil {
			return fmt.Errorf("invalid argument %q for \"--%s\" flag: %w", size.text, size.flag, err)
		}
		*size.to = n
	}
	return nil
}

var remoteContext = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([a-z][a-z0-9+.-]*://|git@|github\.com/)`) })

// locateBuild finds the context and the Dockerfile, either of which may be the standard input.
func (a *app) locateBuild(b *imageBuildFlags, where string, q *api.ImageBuildRequest) (io.Reader, error) {
	u := a.buildUser()
	q.Context, q.Dockerfile = where, b.file
	switch {
	case where == "-" && b.file == "-":
		return nil, errors.New("invalid argument: can't use stdin for both build context and dockerfile")
	case where == "-":
		if _, tty := terminal(a.in); tty {
			return nil, errors.New("the build context is to come from stdin, but that is a terminal: redirect a tar or a Dockerfile to it")
		}
		return a.in, nil
	case !remoteContext().MatchString(where):
		if !filepath.IsAbs(where) {
			q.Context = filepath.Join(u.Dir, where)
		}
		if info, err := os.Stat(q.Context); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("unable to prepare context: path %q not found", where)
		}
		if b.file != "" && b.file != "-" && !filepath.IsAbs(b.file) {
			q.Dockerfile = filepath.Join(u.Dir, b.file)
		}
	}
	if strings.Contains(b.file, "://") {
		return nil, fmt.Errorf("-f %s: a Dockerfile from a URL is not supported: fetch it and give it as -f -", b.file)
	}
	if b.file == "-" {
		q.Dockerfile = ""
		return nil, a.readInline(q)
	}
	return nil, nil
}

// maxInline bounds a Dockerfile from the standard input, as the engine does.
const maxInline = 2 << 20

func (a *app) readInline(q *api.ImageBuildRequest) error {
	text, err := io.ReadAll(io.LimitReader(a.in, maxInline+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the Dockerfile: %w", err)
	case len(text) > maxInline:
		return fmt.Errorf("a Dockerfile of more than %d MiB is not read", maxInline>>20)
	case strings.TrimSpace(string(text)) == "":
		return errors.New("the Dockerfile that stdin was to give is empty")
	}
	q.Inline = string(text)
	return nil
}
