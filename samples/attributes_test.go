package samples

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// attribute is one attribute of a service, and how its effect shows inside the container.
type attribute struct {
	name string // of the service
	yaml string // lines of attributes; without a command the script is the program
	run  string // script of sh
	want string // regular expression of all that the container prints
}

// Every attribute of a service must have its effect: each row is a container whose program looks for it.
func TestAttributes(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("Dockerfile", `FROM busybox:latest
RUN echo 'users:x:100:' > /etc/group && echo 'wheel:x:10:root,ann' >> /etc/group && echo 'ann:x:1000:100:Ann:/home/ann:/bin/sh' >> /etc/passwd && mkdir -p /data /other && echo image > /data/file && ln -s /../data /out
ENTRYPOINT ["echo", "entry"]
CMD ["cmd"]
LABEL from=image both=image
VOLUME /data
`)
	var rows []attribute
	for _, table := range [][]attribute{coreRows, identityRows(), filesystemRows(s), capabilityRows, confinementRows(s), kernelRows()} {
		rows = append(rows, table...)
	}
	s.show(rows)
	s.must("down", "-t", "0", "-v")
	s.mustBeEmpty("project")
}

// show runs the rows as the services of one project and compares what they print.
func (s *site) show(rows []attribute) {
	s.t.Helper()
	s.write("compose.yaml", composeOf(rows))
	s.must("up", "--no-color")
	said := s.said()
	host := hostNamespaces(s.t)
	for _, row := range rows {
		if got := host.Replace(said[row.name]); !regexp.MustCompile(`^(?:` + row.want + `)$`).MatchString(got) {
			s.t.Errorf("%s: with\n%s\nit prints\n%s\nwant\n%s", row.name, row.yaml, got, row.want)
		}
	}
}

// hostNamespaces writes the host's namespaces by their kinds.
func hostNamespaces(t testing.TB) *strings.Replacer {
	t.Helper()
	var pairs []string
	for _, kind := range []string{"pid", "ipc", "uts"} {
		link, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, link, "the host's "+kind)
	}
	return strings.NewReplacer(pairs...)
}

// composeOf writes the rows as services of one file.
func composeOf(rows []attribute) string {
	var b strings.Builder
	b.WriteString("services:\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "  %s:\n    network_mode: none\n", row.name) // quick to make
		if !hasKey(row.yaml, "image") {
			b.WriteString("    image: busybox:latest\n")
		}
		if row.run != "" {
			fmt.Fprintf(&b, "    entrypoint: [sh, -c, %s]\n", quoted("exec 2>&1; "+row.run))
		}
		for line := range strings.Lines(row.yaml) {
			b.WriteString("    " + line)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func hasKey(yaml, key string) bool {
	return strings.HasPrefix(yaml, key+":") || strings.Contains(yaml, "\n"+key+":")
}

// quoted is a script as a YAML string in which compose replaces no variables.
func quoted(script string) string {
	text, err := json.Marshal(strings.ReplaceAll(script, "$", "$$"))
	if err != nil {
		panic(err)
	}
	return string(text)
}

// said is what the services of the project in the site's folder have printed, without the last newline.
func (s *site) said() map[string]string {
	s.t.Helper()
	said := map[string]string{}
	for line := range strings.Lines(s.must("logs", "--no-color")) {
		prefix, text, _ := strings.Cut(line, " | ")
		name := strings.TrimSpace(prefix)
		name = name[:strings.LastIndexByte(name, '-')]
		said[name] += text
	}
	for name, text := range said {
		said[name] = strings.TrimSuffix(text, "\n")
	}
	return said
}

var coreRows = []attribute{
	{"image-command", "image: people\nbuild: .", "", "entry cmd"},
	{"command-list", "image: people\ncommand: [a b, c]", "", "entry a b c"},
	{"command-text", "image: people\ncommand: a 'b  c' \"d  e\"", "", "entry a b  c d  e"},
	{"command-empty", "image: people\ncommand: []", "", "entry"},
	{"command-empty-text", "image: people\ncommand: ''", "", "entry"},
	{"entrypoint-list", "image: people\nentrypoint: [echo, mine]", "", "mine"},
	{"entrypoint-text", "image: people\nentrypoint: echo 'my  own'\ncommand: [x]", "", "my  own x"},
	{"entrypoint-empty", "image: people\nentrypoint: []\ncommand: [echo, alone]", "", "alone"},
	{"variables", "command: [sh, -c, 'echo $$HOME $$A']\nenvironment: {A: b}", "", "/root b"},
	{"init", "init: true", `tr '\0' ' ' < /proc/1/cmdline | cut -c 1-18; echo $$`, `tutti-reaper sh -c\n[1-9]\d+|tutti-reaper sh -c\n[2-9]`},
	{"init-signal", "init: true", `trap 'echo got it; exit' TERM; kill -TERM 1; sleep 10 & wait`, `got it`},
	{"no-init", "init: false", `echo $$`, `1`},
	{"working-dir", "working_dir: /made/for/it", `pwd; stat -c %a:%u .`, "/made/for/it\n755:0"},
	{"hostname", "hostname: ship", `hostname; cat /etc/hostname; echo $HOSTNAME`, "ship\nship\nship"},
	{"domainname", "hostname: ship\ndomainname: sea.example", `hostname; cat /proc/sys/kernel/domainname`, "ship\nsea.example"},
	{"fqdn", "hostname: ship.sea.example", `hostname; cat /proc/sys/kernel/hostname`, "ship.sea.example\nship.sea.example"},
	{"platform", "platform: linux", `echo runs`, "runs"},
	{"stop-signal", "stop_signal: SIGUSR1", `echo runs`, "runs"},
}

func identityRows() []attribute {
	ids := `id -u; id -g; id -G; echo $HOME`
	return []attribute{
		{"user-default", "image: people", ids, "0\n0\n0 10\n/root"},
		{"user-number", "image: people\nuser: '4000'", ids, "4000\n0\n0\n/"},
		{"user-and-group", "image: people\nuser: '4000:5000'", ids, "4000\n5000\n5000\n/"},
		{"user-name", "image: people\nuser: ann", ids, "1000\n100\n100 10\n/home/ann"},
		{"user-known-number", "image: people\nuser: '1000'", ids, "1000\n100\n100 10\n/home/ann"},
		{"user-name-group-name", "image: people\nuser: ann:wheel", ids, "1000\n10\n10\n/home/ann"},
		{"group-add", "image: people\nuser: '4000:5000'\ngroup_add: [wheel, '6000', 7000]", ids, "4000\n5000\n5000 10 6000 7000\n/"},
		{"user-capabilities", "user: '4000'\ncap_add: [NET_ADMIN]", `grep CapEff /proc/self/status`, `CapEff:\t0+`},
		{"umask", "umask: '0077'", `umask; touch /x; stat -c %a /x`, "0077\n600"},
		{"umask-default", "", `umask`, "0022"},
		{"userns-host", "userns_mode: host", `cat /proc/self/uid_map | tr -s ' '`, ` 0 0 4294967295`},
	}
}

func filesystemRows(s *site) []attribute {
	s.write("folder/inside", "from the host\n")
	tmpfs := func(path string) string {
		return `grep ' ` + path + ` ' /proc/mounts | cut -d ' ' -f 3,4; stat -c %a ` + path
	}
	return []attribute{
		{
			"read-only", "read_only: true\ntmpfs: /scratch\nvolumes: [/data, './folder:/folder']",
			`touch /x; echo x >> /etc/hosts; touch /scratch/x /data/x /dev/shm/x && echo written; touch /sys/x; grep -c ' /sys[^ ]* [^ ]* ro' /proc/mounts | grep -qv 0 && echo ro`,
			"touch: /x: Read-only file system\nsh: can't create /etc/hosts: Read-only file system\nwritten\ntouch: /sys/x: .*\nro",
		},
		{"tmpfs", "tmpfs: /t", tmpfs("/t"), `tmpfs rw,nosuid,nodev,noexec,relatime.*\n1777`},
		{
			"tmpfs-options", "tmpfs: ['/t:size=1m,mode=750,uid=7,gid=8,exec,nr_inodes=100', '/u:ro']", tmpfs("/t") + `; touch /u/x`,
			`tmpfs rw,nosuid,nodev,relatime,size=1024k,nr_inodes=100,mode=750,uid=7,gid=8.*\n750\ntouch: /u/x: Read-only file system`,
		},
		{
			"tmpfs-full", "tmpfs: ['/t:size=64k']", `head -c 100000 /dev/zero > /t/x; stat -c %s /t/x`,
			`head: .*(No space left on device|I/O error)\n65536`,
		},
		{"tmpfs-long", "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 2mb, mode: 0700}}]", tmpfs("/t"), `tmpfs rw,nosuid,nodev,noexec,relatime,size=2048k,mode=700.*\n700`},
		{"shm-size", "shm_size: 8mb", `df -k /dev/shm | tail -1 | tr -s ' ' | cut -d ' ' -f 2`, `8192`},
		{"shm-default", "", `df -k /dev/shm | tail -1 | tr -s ' ' | cut -d ' ' -f 2`, `65536`},
		{"shm-bytes", "shm_size: 1048576", `df -k /dev/shm | tail -1 | tr -s ' ' | cut -d ' ' -f 2`, `1024`},
		{
			"image-mount", "volumes: [{type: image, source: people, target: /image}]",
			`cat /image/data/file; ls -d /image/etc/passwd; touch /image/x`, "image\n/image/etc/passwd\ntouch: /image/x: Read-only file system",
		},
		{"image-mount-folder", "volumes: [{type: image, source: people, target: /image, image: {subpath: data}}]", `ls /image; cat /image/file; touch /image/x`, "file\nimage\ntouch: /image/x: Read-only file system"},
		{"image-mount-link", "volumes: [{type: image, source: people, target: /image, image: {subpath: out}}]", `ls /image`, "file"},
		{"image-mount-one-layer", "volumes: [{type: image, source: busybox, target: /image}]", `ls -d /image/etc/passwd; touch /image/x`, "/image/etc/passwd\ntouch: /image/x: Read-only file system"},
		{"image-volume", "image: people", `cat /data/file; grep -c ' /data ' /proc/mounts`, "image\n1"},
	}
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
