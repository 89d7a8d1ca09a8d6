package compare

// Reasons that several differences have.
const (
	oldBuildKit = "the BuildKit or the classic builder of docker before 23: another history, other words of errors, mount points left in the image, times of folders not kept, " +
		"--shm-size and --ulimit without effect, git not read by ADD, mode of folders that ADD --chmod makes"
	newWords = "the same error in other words"
)

// knownDifferences are meant, or are docker's own.
var knownDifferences = []known{
	{section: dockerfileSection, what: "history|error|time of .*", why: oldBuildKit, old: true},
	{section: dockerfileSection, row: "RUN --mount.*", what: "file .*|exit code", why: oldBuildKit, old: true},
	{section: dockerfileSection, row: "--shm-size --ulimit", what: "output|file /x", why: oldBuildKit, old: true},
	{section: dockerfileSection, row: "ADD git.*|ADD --chown --chmod|ADD --keep-git-dir|COPY --chmod.*", what: "output|file .*", why: oldBuildKit, old: true},
	{section: dockerfileSection, row: "unknown user", what: "error", why: newWords},
	{section: dockerfileSection, row: "ADD --keep-git-dir", what: "file /out/.git/index", why: "git writes inode numbers into its index"},
}
