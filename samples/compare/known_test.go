package compare

// Reasons that several differences have.
const (
	oldBuildKit = "the BuildKit or the classic builder of docker before 23: another history, other words of errors, mount points left in the image, times of folders not kept, " +
		"--shm-size and --ulimit without effect, git not read by ADD, mode of folders that ADD --chmod makes"
	newWords     = "the same error in other words; tutti's names containers where docker has their ids"
	otherEngine  = "it is another engine: names of its parts, its storage and its versions"
	noPredefined = "there is no network bridge in tutti, and host and none are listed only"
	refusedHere  = "refused by name (HTTP 501): swarm, search and checkpoints are not supported"
	envOrder     = "the order of the environment's variables: the image's come first"
	ofCompose    = "what docker compose sets, which made the objects here: labels, and who is attached"
	dockerEvents = "docker tells volume create twice and attach for its own command line"
)

// knownDifferences are meant, or are docker's own.
var knownDifferences = []known{
	{section: dockerfileSection, what: "history|error|time of .*", why: oldBuildKit, old: true},
	{section: dockerfileSection, row: "RUN --mount.*", what: "file .*|exit code", why: oldBuildKit, old: true},
	{section: dockerfileSection, row: "--shm-size --ulimit", what: "output|file /x", why: oldBuildKit, old: true},
	{section: dockerfileSection, row: "ADD git.*|ADD --chown --chmod|ADD --keep-git-dir|COPY --chmod.*", what: "output|file .*", why: oldBuildKit, old: true},
	{section: clientsSection, what: "history|time of .*", why: oldBuildKit, old: true},
	{section: clientsSection, row: "failing step|missing file", what: "error", why: oldBuildKit, old: true},
	{section: clientsSection, row: "secret", what: "file /run.*", why: oldBuildKit, old: true},
	{
		section: clientsSection, row: "security.insecure", what: "error", why: "the error says what to do",
		docker: "granting entitlement security.insecure is not allowed by build daemon configuration", tutti: "granting entitlement security.insecure is not allowed by build daemon configuration: .*",
	},
	{section: dockerfileSection, row: "unknown user", what: "error", why: newWords},
	{section: dockerfileSection, row: "ADD --keep-git-dir", what: "file /out/.git/index", why: "git writes inode numbers into its index"},

	{section: flagSection, tutti: "refused by name", why: "not supported yet: tutti's help lists it, and it is refused by name"},
	{section: flagSection, row: "builder .*", why: "buildx's own: there is one builder, the engine's, and bake, debuggers and its history are not there"},
	{section: flagSection, what: "--debug", why: "a flag of buildx for every command of its"},
	{section: copySection, row: ".* out .*\"(self|loop1)\" to .*", why: "docker cannot copy a link out that leads to itself; tutti copies the link"},
	{section: copySection, row: ".* -a .*", why: "docker before 23 finds no numeric user (5:6) for -a and fails; tutti gives the files to it", old: true},
	{section: copySection, what: "message", docker: ".+", tutti: ".+", why: newWords + ", without paths of the engine's storage"},
	{section: streamSection, what: "message", docker: ".+", tutti: ".+", why: newWords + ", without paths of the engine's storage"},
	{section: copySection, row: ".*\"suid\".*", what: "file .*", docker: "0 4755.*", tutti: "0 755.*", why: "what is copied out runs with the rights of another only when its owner is kept, with -a"},
	{section: streamSection, what: "file .*/suid", docker: "0 4755.*", tutti: "0 755.*", why: "what is copied out runs with the rights of another only when its owner is kept, with -a"},
	{section: streamSection, row: "readonly - C:/tmpfs tree", what: "exit code|message", why: "a tmpfs may be written to below a root that may not; docker looks at volumes only"},
	{section: archiveSection, row: "docker to tutti, OCI archive|tutti to docker, OCI archive", what: "id|config.config.Healthcheck", why: "skopeo leaves the health check out of what it converts"},
	{section: archiveSection, row: ".*export and import", what: "config.comment", why: "the message of import stands in the history; docker with graph drivers has it in the configuration, too"},
	{section: registrySection, row: "tutti to docker, what was pulled is pushed again", what: "digest", why: "docker with graph drivers compresses layers anew for each push"},

	{section: createSection, what: "(tutti's command: )?HostConfig.CgroupnsMode", docker: "\"host\"", tutti: "\"private\"", why: "every container has a cgroup namespace of its own; docker's on cgroup v1 has the host's"},
	{section: createSection, what: "(tutti's command: )?HostConfig.(MaskedPaths|ReadonlyPaths)", why: "a current docker's, which masks more"},
	{section: createSection, what: "(tutti's command: )?HostConfig.Runtime", tutti: "\"tutti\"", why: otherEngine},
	{section: createSection, what: "(tutti's command: )?HostConfig.NetworkMode", docker: "\"default\"", tutti: "\"bridge\"", why: "docker before 26 says default where it means bridge"},
	{section: createSection, what: "(tutti's command: )?Mounts", docker: ".*", tutti: ".*\"Mode\":\"\".*", why: "docker says the SELinux mode z of volumes, and lists mounts in no order; paths of the engine's storage"},
	{section: createSection, row: "--mount type=bind.*", what: "tutti's command: HostConfig.Mounts", why: "docker's command sends an empty DriverConfig"},
	{section: createSection, row: "--blkio-weight .*", what: "(tutti's command: )?HostConfig.BlkioWeight", why: "docker forgets a limit that the host cannot set; tutti keeps it for a host that can"},
	{section: createSection, row: "--privileged .*|--pid host .*", what: "(tutti's command: )?HostConfig.SecurityOpt", docker: "\\[\"label=disable\"\\]", why: "there are no SELinux labels"},
	{section: createSection, row: "--mac-address .*", why: "docker 20.10 does not take it from a current docker command", old: true},
	{section: createSection, row: "--link .*", what: "(tutti's command: )?HostConfig.Links", why: "docker writes links with the container's own name"},
	{section: createSection, row: "--pid host .*", what: "(tutti's command: )?Config.Hostname", why: "with the host's UTS namespace the name is the host's", old: true},
	{section: createSection, row: "--network cr_none .*", why: "a network that is not there is refused at once; docker makes a container that cannot be started"},

	{section: answerSection, row: "version|info", why: otherEngine},
	{section: answerSection, row: "inspect cmp-web --format .*(\\.Driver|LogPath|SizeRw).*|inspect --size .*", what: "output", why: otherEngine},
	{section: answerSection, row: "inspect cmp-web --format .*HostConfig.Runtime.*", what: "output", why: otherEngine},
	{section: answerSection, row: "stats --no-stream.*", what: "output", why: "tutti's init is a program with several threads, which count as PIDs; and the order is that of the names"},
	{section: answerSection, row: "ps .*Mounts.*", what: "output", why: "docker lists a container's mounts in no order"},
	{section: answerSection, row: "system df.*|rmi .*|image ls .*(Containers|json).*", what: "output", why: "the storage counts layers otherwise; images' containers are counted in lists, too"},
	{section: answerSection, row: "network (ls|inspect none|rm none).*|inspect (cmp-web )?none.*", why: noPredefined},
	{section: answerSection, row: "inspect --type network.*", what: "output", why: "tutti shows the gateway that it chose; docker before 28 only one that was asked for. And " + ofCompose},
	{section: answerSection, row: "inspect --type volume.*", what: "output", why: ofCompose},
	{section: answerSection, row: "inspect cmp-web .*Config.Env.*|image inspect cmp/committed.*", what: "output", why: envOrder + "; " + ofCompose},
	{section: answerSection, row: "inspect cmp-web .*Mounts.*", what: "output", why: "docker's command line adds the SELinux mode z to volumes"},
	{section: answerSection, row: "inspect cmp-web .*Aliases.*", what: "output", why: "docker before 25 lists the id among the aliases"},
	{section: answerSection, row: "events .*", what: "output", why: dockerEvents},
	{section: answerSection, row: "exec cmp-web (nothing|/etc/passwd)", why: "docker before 23 writes the reason to stdout and ends with 126; later 127 and 126, as tutti", old: true},
	{section: answerSection, row: "(update|search|swarm|node|service|secret|config|checkpoint|run|create) .*", why: refusedHere, tutti: "(?i).*(is not supported yet|^$|1|125).*"},
	{section: answerSection, row: "ps -a --format {{.Names}}|inspect cmp-web --format {{.HostConfig.(Memory|RestartPolicy.Name)}}|container prune -f", what: "output", why: "what an earlier request changed that tutti refuses"},
	{section: answerSection, row: "(build|image prune|builder prune) .*", why: "BuildKit's protocol on the socket (version=2) is refused by name, so that nothing was built"},
	{section: answerSection, row: "volume prune -f", what: "output", why: "docker before 23 removes named volumes, too", old: true},
	{section: answerSection, what: "message", docker: "(?i).*error.*", tutti: "(?i).*(error|exec in container|load image archive).*", why: newWords},
}
