package main

import (
	"slices"
	"strings"
	"testing"

	"tutti/scheduler/api"
)

// The commands of docker compose v5 and of the groups of docker that tutti knows or announces.
var allCommands = strings.Fields(`attach bridge build commit config cp create down events exec export images kill logs ls pause port ps
	publish pull push restart rm run scale start stats stop top unpause up version volumes wait watch
	container image network volume login logout system plan why`)

func TestHelpListsEveryCommand(t *testing.T) {
	t.Parallel()
	r := newCLI(t).run("--help")
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.err.String())
	}
	known, later, ok := strings.Cut(r.out.String(), "\nNot yet:\n")
	if !ok {
		t.Fatalf("no group of what is missing in\n%s", r.out.String())
	}
	missing := make([]string, 0, len(commandsNotYet))
	for _, n := range commandsNotYet {
		missing = append(missing, n.name)
	}
	for _, name := range allCommands {
		where := known
		if slices.Contains(missing, name) {
			where = "\n" + later
		}
		if !strings.Contains(where, "\n  "+name+" ") {
			t.Errorf("%s is not listed where it belongs", name)
		}
	}
	if strings.Contains(r.out.String(), "\n  engine") {
		t.Error("the hidden engine is listed")
	}
}

func TestWhatIsMissingSaysSo(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	for _, n := range commandsNotYet {
		c.run(n.name, "--some-flag", "x").expect(t, 1, "", "tutti "+n.name+" is not supported yet\n")
	}
	for _, cmd := range []struct {
		args []string
		flag string
	}{
		{[]string{"up", "--menu"}, "menu"},
		{[]string{"image", "build", "--squash", "."}, "squash"},
		{[]string{"image", "build", "--isolation", "hyperv", "."}, "isolation"},
		{[]string{"config", "--resolve-image-digests"}, "resolve-image-digests"},
		{[]string{"config", "--lock-image-digests"}, "lock-image-digests"},
		{[]string{"--compatibility", "ps"}, "compatibility"},
		{[]string{"--all-resources", "ps"}, "all-resources"},
	} {
		c.run(cmd.args...).expect(t, 1, "", "--"+cmd.flag+" is not supported yet\n")
	}
	c.run("--dry-run", "image", "rm", "x").expect(t, 1, "", "--dry-run is not supported for image rm yet\n")
	c.run("--parallel", "3", "pull").expect(t, 1, "", "--parallel is not supported for pull yet\n")
	if r := c.run("up", "--menu=false", "--help"); r.code != 0 {
		t.Errorf("a flag that is switched off is refused: %s", r.err.String())
	}
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	c := newCLI(t).compose("services: {web: {image: x}}\n")
	for _, e := range []struct {
		args []string
		want string // the first line
	}{
		{[]string{"frobnicate"}, `unknown command: "tutti frobnicate"`},
		{[]string{"up", "--frobnicate"}, "unknown flag: --frobnicate"},
		{[]string{"exec", "web"}, "'tutti exec' requires at least 2 arguments"},
		{[]string{"ls", "x"}, "'tutti ls' accepts no arguments"},
		{[]string{"image", "x"}, "unknown command: tutti image x"},
		{[]string{"image", "tag", "x"}, "'tutti image tag' requires 2 arguments"},
		{[]string{"up", "--build", "--no-build"}, "--build and --no-build are incompatible"},
		{[]string{"up", "-d", "--abort-on-container-exit"}, "--detach cannot be combined with"},
		{[]string{"up", "--wait", "--attach", "web"}, "--wait cannot be combined with"},
		{[]string{"up", "--force-recreate", "--no-recreate"}, "--force-recreate and --no-recreate are incompatible"},
		{[]string{"up", "--scale", "web"}, `invalid --scale option "web". Should be SERVICE=NUM`},
		{[]string{"up", "--scale", "nope=2"}, "no such service: nope"},
		{[]string{"up", "--exit-code-from", "nope"}, "no such service: nope"},
		{[]string{"up", "--pull", "sometimes"}, `invalid --pull option "sometimes"`},
		{[]string{"up", "nope"}, "no such service: nope"},
		{[]string{"logs", "nope"}, "no such service: nope"},
		{[]string{"logs", "--index", "1"}, "--index requires one service to be selected"},
		{[]string{"logs", "--tail", "x"}, `invalid --tail value "x"`},
		{[]string{"logs", "--since", "yesterday"}, `invalid --since value "yesterday"`},
		{[]string{"down", "--rmi", "some"}, `invalid value for --rmi: "some"`},
		{[]string{"pull", "--policy", "never"}, `invalid --policy option "never"`},
		{[]string{"ps", "--filter", "x"}, "arguments to --filter should be in form KEY=VAL"},
		{[]string{"ls", "--filter", "status=x"}, "invalid filter 'status'"},
		{[]string{"config", "--format", "xml"}, `unsupported format "xml"`},
		{[]string{"--progress", "fancy", "ls"}, `unsupported --progress value "fancy"`},
		{[]string{"--ansi", "maybe", "ls"}, `unsupported --ansi value "maybe"`},
	} {
		r := c.run(e.args...)
		first, _, _ := strings.Cut(r.err.String(), "\n")
		if r.code != 1 || !strings.HasPrefix(first, e.want) || r.out.String() != "" {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q; want %q", e.args, r.code, r.out.String(), r.err.String(), e.want)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.run("version").expect(t, 0, "tutti version v1.2.3\n", "")
	c.run("version", "--short").expect(t, 0, "1.2.3\n", "")
	c.run("version", "--format", "json").expect(t, 0, "{\"version\":\"v1.2.3\"}\n", "")
}

func TestVerbs(t *testing.T) {
	t.Parallel()
	c := newCLI(t).compose("services: {web: {image: x}, db: {image: y}, debug: {image: z, profiles: [extra]}}\n")
	var up api.UpRequest
	var down api.DownRequest
	var stop api.ServicesRequest
	var build api.BuildRequest
	started := api.Event{Kind: api.KindResource, Resource: "Container", Name: "demo-web-1", Status: "Started", Phase: api.PhaseDone}
	c.verb("up", &up, started).verb("down", &down).verb("stop", &stop)
	c.verb("build", &build, api.Event{Kind: api.KindEnd, Error: "it broke", ExitCode: 17})

	c.run("--parallel", "2", "up", "-d", "--scale", "db=3", "-t", "5", "--wait-timeout", "7", "--pull", "if_not_present", "-V", "web").
		expect(t, 0, "", " Container demo-web-1  Started\n")
	o := up.Options
	if !slices.Equal(o.Services, []string{"web"}) || o.Scale["db"] != 3 || *o.Timeout != 5 || o.WaitTimeout.Seconds() != 7 || o.Pull != "missing" ||
		!o.RenewAnonVolumes || o.Parallel != 2 || len(up.Project) == 0 {
		t.Errorf("up asks for %+v", o)
	}
	c.run("up", "-d", "debug").expect(t, 0, "", " Container demo-web-1  Started\n") // enables its profile

	c.run("down", "-v", "--remove-orphans", "--rmi", "local", "-t", "0").expect(t, 0, "", "")
	if !down.Volumes || !down.RemoveOrphans || down.RMI != "local" || *down.Timeout != 0 || down.Name != "demo" {
		t.Errorf("down asks for %+v", down)
	}
	c.run("stop", "web").expect(t, 0, "", "")
	if stop.Timeout != nil || !slices.Equal(stop.Services, []string{"web"}) {
		t.Errorf("stop asks for %+v", stop)
	}
	c.environ = []string{"FROM_ENV=1"}
	c.run("build", "--build-arg", "A=b", "--build-arg", "FROM_ENV", "--build-arg", "UNSET", "--no-cache").expect(t, 17, "", "it broke\n")
	if *build.Args["A"] != "b" || *build.Args["FROM_ENV"] != "1" || build.Args["UNSET"] != nil || len(build.Args) != 3 || !build.NoCache {
		t.Errorf("build asks for %+v", build)
	}
	c.run("--progress", "json", "build").expect(t, 17, "", `{"error":true,"message":"it broke"}`+"\n")
}

func TestDryRunIsMarked(t *testing.T) {
	t.Parallel()
	c := newCLI(t).compose("services: {web: {image: x}}\n")
	var up api.UpRequest
	c.verb("up", &up, api.Event{Kind: api.KindPlan, Text: "create network demo_default\ncreate container demo-web-1\n"})
	c.run("--dry-run", "up").expect(t, 0, "DRY-RUN MODE -  create network demo_default\nDRY-RUN MODE -  create container demo-web-1\n", "")
	if !up.Options.DryRun {
		t.Error("the engine was not told that it is a dry run")
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	c := newCLI(t).compose("services:\n  web: {image: \"x:$TAG\", depends_on: [db], environment: {A: $$b}}\n  db: {build: ., volumes: [\"data:/d\"]}\nvolumes: {data: {}}\n")
	c.environ = []string{"TAG=7"}
	c.run("config", "--services").expect(t, 0, "db\nweb\n", "")
	c.run("config", "--images").expect(t, 0, "demo-db\nx:7\n", "")
	c.run("config", "--volumes").expect(t, 0, "data\n", "")
	c.run("config", "--networks").expect(t, 0, "default\n", "")
	c.run("config", "--variables").expect(t, 0, "NAME                REQUIRED            DEFAULT VALUE       ALTERNATE VALUE\nTAG                 false                                   \n", "")
	c.run("config", "-q").expect(t, 0, "", "")
	if r := c.run("config"); r.code != 0 || !strings.Contains(r.out.String(), "A: $$b") || !strings.Contains(r.out.String(), "image: x:7") {
		t.Errorf("exit code %d\n%s%s", r.code, r.out.String(), r.err.String())
	}
	if r := c.run("config", "--no-interpolate"); r.code != 0 || !strings.Contains(r.out.String(), "x:$TAG") {
		t.Errorf("exit code %d\n%s%s", r.code, r.out.String(), r.err.String())
	}
	if r := c.run("config", "--hash", "web"); r.code != 0 || len(strings.TrimSpace(r.out.String())) != len("web ")+64 {
		t.Errorf("exit code %d\n%s%s", r.code, r.out.String(), r.err.String())
	}
}

// A compose file that has become wrong must not keep a project from being looked at and taken away.
func TestWrongFile(t *testing.T) {
	t.Parallel()
	c := newCLI(t).compose("services: {web: {image: x, depends_on: [nope]}}\n")
	var down api.DownRequest
	c.verb("down", &down).answer(api.Prefix+"/projects/demo/containers", demo())
	c.run("ps", "-q", "--status", "exited").expect(t, 0, someID+"\n", "")
	if r := c.run("down"); r.code != 0 || !strings.HasPrefix(r.err.String(), "WARN ") || down.Name != "demo" || down.Project != nil {
		t.Errorf("exit code %d, %+v\n%s", r.code, down, r.err.String())
	}
	if r := c.run("up", "-d"); r.code != 1 || !strings.Contains(r.err.String(), "nope") {
		t.Errorf("exit code %d\n%s", r.code, r.err.String())
	}
	c.dir = t.TempDir()
	if r := c.run("-f", c.dir+"/none.yaml", "down"); r.code != 1 || !strings.Contains(r.err.String(), "none.yaml") {
		t.Errorf("exit code %d\n%s", r.code, r.err.String())
	}
}
