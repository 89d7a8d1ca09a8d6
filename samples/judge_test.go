package samples

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tutti/samples/testdata/probe/facts"
)

// row is a line of the comparison; its verdict is one of those below, or says what is wrong.
type row struct{ what, docker, tutti, verdict string }

const (
	equal    = "equal"
	stricter = "stricter"
)

// table writes rows as Markdown under a header whose columns are separated by " | ".
func table(header string, rows []row) string {
	columns := strings.Split(header, " | ")
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", header, strings.Repeat("---|", len(columns)))
	for _, r := range rows {
		r = r.brief()
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.what, r.docker, r.tutti, r.verdict)
	}
	return b.String()
}

// judge compares what was seen in a container with what docker documents.
type judge struct {
	t        testing.TB
	f        *facts.Facts
	entered  *facts.Facts // by a process of exec
	caps     []string     // that the container has, which docker's profile depends on
	limits   map[string][2]uint64
	keyrings string // /proc/keys of the host, "" when it is not this host's engine
	id       string // of a container that runs
	rows     []row
}

func newJudge(t testing.TB, f, entered *facts.Facts, caps []string) *judge {
	return &judge{t: t, f: f, entered: entered, caps: caps}
}

func (j *judge) add(what, docker, tutti, verdict string) {
	j.rows = append(j.rows, row{what, docker, tutti, verdict})
}

// same adds a row of two values that must not differ.
func (j *judge) same(what, docker, tutti string) {
	verdict := equal
	if docker != tutti {
		verdict = "DIFFERENT"
	}
	j.add(what, docker, tutti, verdict)
}

// within adds a row of two lists, of which docker's must hold the other.
func (j *judge) within(what string, docker, tutti []string) {
	extra := slices.DeleteFunc(slices.Clone(tutti), func(s string) bool { return slices.Contains(docker, s) })
	switch {
	case len(extra) > 0:
		j.add(what, list(docker), list(tutti), "WEAKER: "+list(extra))
	case len(tutti) < len(docker):
		j.add(what, list(docker), list(tutti), stricter)
	default:
		j.same(what, list(docker), list(tutti))
	}
}

// brief keeps the page readable where a long text is repeated.
func (r row) brief() row {
	if r.verdict == equal && r.docker == r.tutti && len(r.docker) > 80 {
		r.tutti = "the same"
	}
	return r
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// all compares everything.
func (j *judge) all() []row {
	j.privileges()
	j.calls()
	j.paths()
	j.devices()
	j.mounts()
	j.surroundings()
	j.process()
	j.exec()
	return j.rows
}

func (j *judge) privileges() {
	for _, set := range []struct{ name, key string }{
		{"effective", "CapEff"}, {"permitted", "CapPrm"}, {"bounding", "CapBnd"}, {"inheritable", "CapInh"}, {"ambient", "CapAmb"},
	} {
		docker := dockerCaps
		if set.key == "CapInh" || set.key == "CapAmb" {
			docker = nil
		}
		j.within("capabilities, "+set.name, docker, capabilities(j.f.Status[set.key]))
	}
	j.same("no_new_privs", "0", j.f.Status["NoNewPrivs"])
	j.same("user and group (real, effective, saved, file system)", "0 0 0 0, 0 0 0 0", spaces(j.f.Status["Uid"])+", "+spaces(j.f.Status["Gid"]))
	j.same("supplementary groups", "0", j.f.Status["Groups"])
	j.same("securebits, keepcaps, subreaper, pdeathsig, personality", "the kernel's defaults", orText(j.f.Personal, "the kernel's defaults"))
}

func spaces(s string) string { return strings.Join(strings.Fields(s), " ") }

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// calls compares the verdict on every system call.
func (j *judge) calls() {
	p := readProfile(j.t)
	j.same("seccomp mode", "2 (filter)", j.f.Status["Seccomp"]+" (filter)")
	j.architecture(&p, "x86-64", "native", callNames(j.t, "amd64"))
	j.architecture(&p, "i386", "32 bit", callNames(j.t, "386"))
	refused := slices.DeleteFunc(slices.Clone(j.f.Calls["x32"]), func(v int) bool { return v == 0 || v == -1 })
	verdict := equal
	if len(refused) > 0 {
		verdict = stricter
	}
	if len(refused) == len(j.f.Calls["x32"])-2 { // but for those that seccomp never sees
		j.add("system calls, x32", "as x86-64", "all refused", verdict)
	} else {
		j.add("system calls, x32", "as x86-64", fmt.Sprintf("%d of %d refused", len(refused), len(j.f.Calls["x32"])), verdict)
	}
	j.arguments(&p)
}

// architecture adds a row for all calls of an architecture; one that differs has a row of its own.
func (j *judge) architecture(p *profile, title, key string, names map[int]string) {
	allowed, docker, newest := 0, 0, p.newest(names)
	blocked := []string{}
	for nr, got := range j.f.Calls[key] {
		name, known := names[nr]
		want := p.DefaultErrnoRet
		if known {
			want = p.verdict(name, j.caps, 0)
		}
		switch {
		case got == -1 && (name == "uretprobe" || name == "uprobe" || !known):
			continue // seccomp never sees them
		case nr > newest && got == int(unix.ENOSYS): // as runc answers for what is newer than the profile
		case got != want:
			what := "WEAKER"
			if want == 0 {
				what = "DIFFERENT: a program may need it"
			}
			j.add("system call "+name+" "+strconv.Itoa(nr)+", "+title, errno(want), errno(got), what)
		}
		if got == 0 {
			allowed++
		} else if known {
			blocked = append(blocked, name)
		}
		if want == 0 {
			docker++
		}
	}
	if len(j.f.Calls[key]) == 0 {
		j.add("system calls, "+title, "as the profile says", "the probe was not answered", "UNKNOWN")
		return
	}
	j.same("system calls allowed, "+title, strconv.Itoa(docker), strconv.Itoa(allowed))
	if key == "native" {
		j.same("system calls refused, "+title, list(sorted(j.refused(p, names))), list(sorted(blocked)))
	}
}

func (j *judge) refused(p *profile, names map[int]string) []string {
	var all []string
	for nr, name := range names {
		if nr < len(j.f.Calls["native"]) && j.f.Calls["native"][nr] != -1 && p.verdict(name, j.caps, 0) != 0 {
			all = append(all, name)
		}
	}
	return all
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// arguments compares the calls whose verdict depends on one.
func (j *judge) arguments(p *profile) {
	docker, tutti := map[string][]string{}, map[string][]string{}
	names := []string{}
	for key := range j.f.ByArgument {
		names = append(names, key)
	}
	for _, key := range sorted(names) {
		name, arg, _ := strings.Cut(key, " ")
		value, err := strconv.ParseUint(arg, 0, 64)
		if err != nil {
			j.t.Fatal(err)
		}
		if p.verdict(name, j.caps, value) != 0 {
			docker[name] = append(docker[name], arg)
		}
		if j.f.ByArgument[key] != 0 {
			tutti[name] = append(tutti[name], arg)
		}
	}
	j.same("families that socket refuses, of 0-47 (38 AF_ALG, 40 AF_VSOCK)", list(docker["socket"]), list(tutti["socket"]))
	j.same("flags that clone refuses (new namespaces)", list(docker["clone"]), list(tutti["clone"]))
	j.same("values that personality refuses, of those tried", list(docker["personality"]), list(tutti["personality"]))
}

// limitsOf reads /proc/<pid>/limits; RLIM_INFINITY is all ones.
func limitsOf(t testing.TB, pid int) map[string][2]uint64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{
		"Max cpu time": "CPU", "Max file size": "FSIZE", "Max data size": "DATA", "Max stack size": "STACK", "Max core file size": "CORE",
		"Max resident set": "RSS", "Max processes": "NPROC", "Max open files": "NOFILE", "Max locked memory": "MEMLOCK",
		"Max address space": "AS", "Max file locks": "LOCKS", "Max pending signals": "SIGPENDING", "Max msgqueue size": "MSGQUEUE",
		"Max nice priority": "NICE", "Max realtime priority": "RTPRIO", "Max realtime timeout": "RTTIME",
	}
	limits := map[string][2]uint64{}
	number := func(s string) uint64 {
		if s == "unlimited" {
			return ^uint64(0)
		}
		n, _ := strconv.ParseUint(s, 10, 64)
		return n
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		for title, name := range names {
			if rest, ok := strings.CutPrefix(lines.Text(), title+" "); ok {
				w := strings.Fields(rest)
				limits[name] = [2]uint64{number(w[0]), number(w[1])}
			}
		}
	}
	return limits
}
