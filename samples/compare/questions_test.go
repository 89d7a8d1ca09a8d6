package compare

// questions are asked in this order: the last ones change things.
func questions(dir string) []question {
	all := []question{ask("version").by(labels), ask("info").by(labels), ask("diff cmp-web").by(unordered)}
	for _, line := range looking {
		all = append(all, ask(line))
	}
	all = append(all,
		ask("save -o "+dir+"/saved.tar busybox"),
		ask("load -i "+dir+"/saved.tar"),
		ask("load -q").with("no archive"),
		ask("exec -i cmp-web cat").with("typed"),
		ask("cp compose.yaml cmp-web:/tmp/copied"),
		ask("exec cmp-web wc -c /tmp/copied"),
		ask("cp cmp-web:/tmp/copied "+dir+"/back"),
		ask("cp cmp-web:/nowhere ."),
		ask("import - imported:1").with(""),
		ask("build -q -").with("FROM busybox\nLABEL built=yes\n"),
	)
	for _, line := range changing {
		all = append(all, ask(line))
	}
	return all
}

// looking are questions that change nothing.
var looking = []string{
	"version --format '{{.Server.Os}}/{{.Server.Arch}}'",
	"info --format '{{.OSType}} {{.Architecture}} {{.NCPU}} {{.MemTotal}} {{.KernelVersion}} {{.Containers}} {{.ContainersRunning}} {{.ContainersStopped}} {{.ContainersPaused}} {{.Swarm.LocalNodeState}} {{.CgroupVersion}}'",
	"ps", "ps -a", "ps -aq", "ps -a --no-trunc", "ps -s", "ps -n 1", "ps -l", "ps -a --filter status=exited", "ps -a --filter exited=3", "ps -a --filter name=cmp-w", "ps -a --filter name=^/cmp-web$",
	"ps -a --filter label=kind=web", "ps -a --filter label=kind", "ps -a --filter label=none", "ps -a --filter ancestor=busybox", "ps -a --filter network=cmp_net", "ps -a --filter volume=cmp_data",
	"ps -a --filter publish=8123", "ps -a --filter expose=80", "ps -a --filter health=none", "ps -a --filter before=cmp-job", "ps -a --filter since=cmp-job", "ps -a --filter status=none", "ps --filter nonsense=1",
	"ps -a --format '{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Ports}} {{.Mounts}} {{.LocalVolumes}} {{.Networks}}'", "ps -a --format '{{.Names}} {{.Label \"kind\"}}'",
	"images", "image ls", "image ls -a", "image ls -q", "image ls --digests", "image ls --no-trunc", "image ls busybox", "image ls busybox:latest", "image ls nothing", "image ls --filter reference=busy*",
	"image ls --filter reference=none", "image ls --filter dangling=true", "image ls --filter dangling=false", "image ls --filter label=none", "image ls --filter before=busybox", "image ls --filter since=busybox",
	"image ls --filter nonsense=1", "image ls --format '{{.Repository}}:{{.Tag}}'", "image ls --format '{{json .Repository}} {{.Containers}} {{.SharedSize}} {{.UniqueSize}}'", "image ls --format json",
	"image inspect busybox --format '{{.Os}} {{.Architecture}} {{json .Config.Cmd}} {{json .Config.Env}} {{json .Config.Entrypoint}} {{json .RepoTags}} {{len .RootFS.Layers}} {{.ID}}'",
	"image inspect none", "image inspect busybox none --format '{{.Os}}'", "history busybox", "history --no-trunc busybox", "history -q busybox", "history --format '{{.CreatedBy}} {{.Size}}' busybox", "history none",
	"system df", "system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'", "system df -v",
	"inspect cmp-web --format '{{.Name}} {{.State.Status}} {{.State.Running}} {{.State.Paused}} {{.State.ExitCode}} {{.RestartCount}} {{.Driver}} {{.Platform}}'",
	"inspect cmp-web --format '{{json .Config.Cmd}} {{json .Config.Entrypoint}} {{json .Config.Env}} {{.Config.Image}} {{.Config.WorkingDir}} {{.Config.Hostname}} {{.Config.User}} {{.Config.StopSignal}} {{.Config.Tty}} {{.Config.OpenStdin}} {{.Config.AttachStdout}}'",
	"inspect cmp-web --format '{{json .Config.ExposedPorts}} {{json .Config.Volumes}} {{index .Config.Labels \"role\"}}'",
	"inspect cmp-web --format '{{json .HostConfig.RestartPolicy}} {{.HostConfig.NetworkMode}} {{.HostConfig.Memory}} {{json .HostConfig.PortBindings}} {{json .HostConfig.LogConfig}}'",
	"inspect cmp-web --format '{{.HostConfig.Privileged}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.AutoRemove}} {{json .HostConfig.CapAdd}} {{json .HostConfig.Binds}} {{.HostConfig.IpcMode}} {{.HostConfig.PidMode}} {{.HostConfig.ShmSize}} {{.HostConfig.Runtime}}'",
	"inspect cmp-web --format '{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.Driver}} {{.Mode}} {{.RW}};{{end}}'",
	"inspect cmp-web --format '{{json .NetworkSettings.Ports}}'",
	"inspect cmp-web --format '{{range $n, $e := .NetworkSettings.Networks}}{{$n}} {{$e.Gateway}} {{$e.IPAddress}} {{$e.IPPrefixLen}} {{$e.Aliases}}{{end}}'",
	"inspect cmp-web --format '{{.Path}} {{len .Args}} {{.LogPath | len}} {{.Created}} {{.Image}}'",
	"inspect cmp-job --format '{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.OOMKilled}} {{.State.Error}} {{.HostConfig.NetworkMode}}'",
	"inspect --size cmp-web --format '{{.SizeRw}} {{.SizeRootFs}}'",
	"inspect none", "inspect cmp-web none --format '{{.Name}}'", "inspect --type network cmp_net --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.EnableIPv6}} {{json .IPAM.Config}} {{json .Labels}} {{json .Options}}'",
	"inspect --type volume cmp_data --format '{{.Name}} {{.Driver}} {{.Scope}} {{json .Labels}} {{json .Options}}'", "inspect cmp_net --format '{{.Name}}'", "inspect cmp_data --format '{{.Name}}'", "inspect busybox --format '{{.Os}}'",
	"container inspect none", "logs cmp-web", "logs -n 1 cmp-job", "logs -t cmp-job", "logs --since 1h cmp-job", "logs --until 1h cmp-job", "logs --details cmp-job", "logs none", "logs --tail 0 cmp-job",
	"top cmp-web", "top cmp-web -o pid,comm", "top cmp-job", "top none", "stats --no-stream", "stats --no-stream --format '{{.Name}} {{.PIDs}}' cmp-web", "stats --no-stream none", "stats --no-stream -a --format '{{.Name}}'",
	"port cmp-web", "port cmp-web 80", "port cmp-web 81", "port cmp-job", "port none", "diff none",
	"events --since 1h --until 0s --filter type=volume --format '{{.Type}} {{.Action}} {{.Actor.ID}}'", "events --since 1h --until 0s --filter container=cmp-job --filter event=die --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}} {{.Actor.Attributes.image}}'",
	"events --since 1h --until 0s --filter container=cmp-job --format '{{.Action}}'", "events --since 1h --until 0s --filter type=network --filter network=cmp_net --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}'",
	"volume ls", "volume ls -q", "volume ls --filter name=cmp", "volume ls --filter label=kind=data", "volume ls --filter dangling=true", "volume ls --filter dangling=false", "volume ls --filter driver=local", "volume ls --filter nonsense=1", "volume inspect none",
	"network ls", "network ls -q", "network ls --filter name=cmp", "network ls --filter driver=bridge", "network ls --filter label=kind", "network ls --filter type=custom", "network ls --filter scope=local", "network ls --filter dangling=true", "network ls --filter nonsense=1",
	"network inspect cmp_net --format '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}'", "network inspect none",
	"exec cmp-web echo out", "exec cmp-web sh -c 'echo err >&2; exit 7'", "exec -e X=1 -w / -u nobody cmp-web sh -c 'echo $X; pwd; id -u'", "exec cmp-web nothing", "exec cmp-web /etc/passwd", "exec cmp-job true", "exec none true", "exec -d cmp-web true",
	"container ls", "container port cmp-web", "plugin ls", "search none", "swarm init", "node ls", "service ls", "secret ls", "config ls", "checkpoint ls cmp-web",
}

// changing are questions that change things.
var changing = []string{
	"tag busybox cmp/busy:1", "tag none cmp/busy:2", "tag busybox 'Bad Name'", "image ls cmp/busy", "rmi cmp/busy:1", "rmi none", "rmi busybox",
	"commit -m why -a me cmp-web cmp/committed:1", "image inspect cmp/committed:1 --format '{{.Comment}} {{.Author}} {{json .Config.Cmd}} {{json .Config.Env}}'", "rmi cmp/committed:1",
	"pause cmp-web", "ps --filter name=cmp-web", "pause cmp-web", "unpause cmp-web", "unpause cmp-web", "rename cmp-job cmp-renamed", "rename none cmp-x", "rename cmp-renamed cmp-web", "ps -a --format '{{.Names}}'", "rename cmp-renamed cmp-job",
	"update --memory 128m --memory-swap 256m cmp-web", "inspect cmp-web --format '{{.HostConfig.Memory}}'", "update --restart no cmp-web", "inspect cmp-web --format '{{.HostConfig.RestartPolicy.Name}}'", "update none",
	"wait cmp-job", "wait none", "kill -s HUP none", "kill cmp-job", "kill -s NONSENSE cmp-web", "attach cmp-job", "attach none", "start none", "start -a cmp-job", "stop -t 1 none", "restart -t 0 none",
	"network create cmp-second", "network connect --alias other cmp-second cmp-web", "network connect cmp-second cmp-web", "inspect cmp-web --format '{{len .NetworkSettings.Networks}}'", "network rm cmp-second", "network disconnect cmp-second cmp-web", "network rm cmp-second", "network rm none", "network create cmp_net", "network create --driver none cmp-third",
	"volume create cmp-volume", "volume create cmp-volume", "volume rm cmp-volume", "volume rm cmp-volume", "volume rm cmp_data", "volume create --driver none cmp-v",
	"stop -t 1 cmp-web", "ps -a --format '{{.Names}} {{.State}}'", "start cmp-web", "restart -t 0 cmp-web", "kill cmp-web", "wait cmp-web", "start cmp-web", "rm cmp-web", "rm none",
	"run --rm busybox echo run", "create --name cmp-created busybox true", "container prune -f", "image prune -f", "builder prune -f", "rm -f cmp-web", "network prune -f", "volume prune -f", "system prune -f",
}
