package proctable

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// column is a column of ps.
type column struct {
	title string
	value func(Process, *table) string
}

// table is what columns need beside the process.
type table struct {
	now    time.Time
	users  Users
	memory uint64 // bytes that the host has
}

// columns are those of ps that are known, by their names for -o.
var columns = map[string]column{
	"user":  {"USER", func(p Process, t *table) string { return shortUser(t.users.Name(p.UID)) }},
	"uid":   {"UID", func(p Process, _ *table) string { return strconv.Itoa(p.UID) }},
	"pid":   {"PID", func(p Process, _ *table) string { return strconv.Itoa(p.Pid) }},
	"ppid":  {"PPID", func(p Process, _ *table) string { return strconv.Itoa(p.PPid) }},
	"pgid":  {"PGID", func(p Process, _ *table) string { return strconv.Itoa(p.Group) }},
	"sid":   {"SID", func(p Process, _ *table) string { return strconv.Itoa(p.Session) }},
	"nlwp":  {"NLWP", func(p Process, _ *table) string { return strconv.Itoa(p.Threads) }},
	"c":     {"C", func(p Process, t *table) string { return strconv.Itoa(min(int(p.load(t.now)), 99)) }},
	"pcpu":  {"%CPU", func(p Process, t *table) string { return fmt.Sprintf("%.1f", p.load(t.now)) }},
	"pmem":  {"%MEM", func(p Process, t *table) string { return fmt.Sprintf("%.1f", percent(p.Resident, t.memory)) }},
	"vsz":   {"VSZ", func(p Process, _ *table) string { return strconv.FormatUint(p.Virtual>>10, 10) }},
	"rss":   {"RSS", func(p Process, _ *table) string { return strconv.FormatUint(p.Resident>>10, 10) }},
	"stime": {"STIME", func(p Process, t *table) string { return startTime(p.Started, t.now) }},
	"start": {"START", func(p Process, t *table) string { return startTime(p.Started, t.now) }},
	"tty":   {"TTY", func(p Process, _ *table) string { return ttyName(p.TTY) }},
	"stat":  {"STAT", func(p Process, _ *table) string { return p.stat() }},
	"time":  {"TIME", func(p Process, _ *table) string { return cpuTime(p.CPU) }},
	"bsdtime": {"TIME", func(p Process, _ *table) string {
		return fmt.Sprintf("%d:%02d", int(p.CPU.Minutes()), int(p.CPU.Seconds())%60)
	}},
	"etime": {"ELAPSED", func(p Process, t *table) string { return elapsed(t.now.Sub(p.Started)) }},
	"comm":  {"COMMAND", func(p Process, _ *table) string { return printable(p.Command) }},
	"args":  {"COMMAND", func(p Process, _ *table) string { return p.commandLine() }},
	"cmd":   {"CMD", func(p Process, _ *table) string { return p.commandLine() }},
}

// aliases are further names that ps has for its columns.
var aliases = map[string]string{"command": "args", "%cpu": "pcpu", "%mem": "pmem", "euser": "user", "euid": "uid", "tt": "tty", "tname": "tty", "s": "stat", "ucmd": "comm", "rssize": "rss", "vsize": "vsz"}

// ErrArguments is returned for arguments of ps that are not known.
var ErrArguments = errors.New("these arguments of ps are not supported: use -ef, aux or -o with the names of columns")

// Format lists processes with the columns that ps shows for its arguments: "-ef", which is the default, "aux", or
// "-o pid,user,args".
func Format(all []Process, arguments string, now time.Time) (titles []string, rows [][]string, err error) {
	chosen, err := choose(arguments)
	if err != nil {
		return nil, nil, err
	}
	t := &table{now: now, users: Users{}}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		t.memory = uint64(info.Totalram) * uint64(info.Unit) //nolint:unconvert // 32 bits elsewhere
	}
	for _, c := range chosen {
		titles = append(titles, c.title)
	}
	for _, p := range all {
		row := make([]string, 0, len(chosen))
		for _, c := range chosen {
			row = append(row, c.value(p, t))
		}
		rows = append(rows, row)
	}
	return titles, rows, nil
}

func choose(arguments string) ([]column, error) {
	var names string
	full := false
	switch a := strings.Join(strings.Fields(arguments), " "); a {
	case "", "-ef", "-e -f", "-f -e":
		names, full = "user,pid,ppid,c,stime,tty,time,cmd", true
	case "aux", "-aux":
		names = "user,pid,pcpu,pmem,vsz,rss,tty,stat,start,bsdtime,args"
	default:
		var ok bool
		for _, flag := range []string{"-eo", "-o", "-e -o", "o", "axo"} {
			if rest, is := strings.CutPrefix(a, flag+" "); is {
				names, ok = rest, true
			}
		}
		if !ok {
			return nil, fmt.Errorf("%w, not %q", ErrArguments, arguments)
		}
	}
	var chosen []column
	for _, n := range strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' }) {
		if a, ok := aliases[n]; ok {
			n = a
		}
		c, ok := columns[n]
		if !ok {
			return nil, fmt.Errorf("%w, not the column %q", ErrArguments, n)
		}
		if full && n == "user" {
			c.title = "UID" // as ps -f calls it
		}
		chosen = append(chosen, c)
	}
	return chosen, nil
}

// shortUser is a user's name as ps shows it in its eight columns: a longer one ends with a plus.
func shortUser(name string) string {
	if len(name) > 8 {
		return name[:7] + "+"
	}
	return name
}

// load is the share of the time since the process was started that it had a CPU, in percent.
func (p Process) load(now time.Time) float64 {
	if ran := now.Sub(p.Started); ran > 0 {
		return 100 * float64(p.CPU) / float64(ran)
	}
	return 0
}

func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// startTime is the hour on the day itself, the day in the same year, else the year.
func startTime(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	switch {
	case t.Year() != now.Year():
		return t.Format("2006")
	case t.YearDay() != now.YearDay():
		return t.Format("Jan02")
	}
	return t.Format("15:04")
}

// ttyName names a terminal by its device number, as /proc encodes it: proc_pid_stat(5), tty_nr.
func ttyName(device int) string {
	major, minor := device>>8&0xfff, device&0xff|device>>12&0xfff00
	switch {
	case device == 0:
		return "?"
	case major >= 136 && major <= 143:
		return "pts/" + strconv.Itoa((major-136)<<20|minor)
	case major == 4 && minor < 64:
		return "tty" + strconv.Itoa(minor)
	case major == 4:
		return "ttyS" + strconv.Itoa(minor-64)
	case major == 5 && minor == 1:
		return "console"
	}
	return fmt.Sprintf("%d,%d", major, minor)
}

// cpuTime is [dd-]hh:mm:ss.
func cpuTime(d time.Duration) string {
	s := int(d.Seconds())
	text := fmt.Sprintf("%02d:%02d:%02d", s/3600%24, s/60%60, s%60)
	if days := s / 86400; days > 0 {
		return fmt.Sprintf("%02d-%s", days, text)
	}
	return text
}

// elapsed is [[dd-]hh:]mm:ss.
func elapsed(d time.Duration) string {
	s := int(max(d, 0).Seconds())
	if s < 3600 {
		return fmt.Sprintf("%02d:%02d", s/60, s%60)
	}
	return cpuTime(d)
}

// stat is the state and what ps marks beside it.
func (p Process) stat() string {
	s := string(p.State)
	if p.Session == p.Pid {
		s += "s"
	}
	if p.Threads > 1 {
		s += "l"
	}
	if p.Foreground == p.Group && p.TTY != 0 {
		s += "+"
	}
	return s
}

// commandLine is the arguments, or the name in brackets for a process that has none.
func (p Process) commandLine() string {
	if len(p.Args) == 0 {
		return "[" + printable(p.Command) + "]"
	}
	return printable(strings.Join(p.Args, " "))
}

// printable keeps a hostile name from writing to the terminal of whoever looks at it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
