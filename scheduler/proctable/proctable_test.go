package proctable

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What is listed must be what ps lists of the same process.
func TestAgainstPs(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	pid := strconv.Itoa(cmd.Process.Pid)
	for args, same := range map[string]string{"-ef": "-f", "-o pid,ppid,user,args,tty,nlwp,pgid": "-o pid,ppid,user,args,tty,nlwp,pgid"} {
		out, err := exec.Command("ps", append(strings.Fields(same), "-p", pid)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		all, err := Read([]int{1 << 30, cmd.Process.Pid})
		if err != nil {
			t.Fatal(err)
		}
		titles, rows, err := Format(all, args, time.Now())
		if err != nil || len(rows) != 1 {
			t.Fatal(rows, err)
		}
		want := strings.Fields(lines[0])
		if i := slices.Index(want, "TT"); i >= 0 {
			want[i] = "TTY"
		}
		if !slices.Equal(titles, want) {
			t.Errorf("the columns are %v, those of ps are %v", titles, want)
		}
		if got, want := strings.Join(rows[0], " "), strings.Join(strings.Fields(lines[1]), " "); got != want {
			t.Errorf("%q, ps has %q", got, want)
		}
	}
}

func TestColumns(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 20, 12, 0, 0, 0, time.Local)
	p := Process{
		Pid: 7, PPid: 1, Session: 7, Group: 7, Foreground: 7, UID: 4_000_000, Command: "a\x1b]0;x", State: 'R', TTY: 136<<8 | 3,
		CPU: 27*time.Hour + 62*time.Second, Started: now.Add(-48 * time.Hour), Threads: 3, Virtual: 8 << 20, Resident: 4 << 20,
	}
	_, rows, err := Format([]Process{p}, "-o uid,user,c,stime,tty,stat,time,bsdtime,etime,rss,vsz,comm,cmd", now)
	if err != nil {
		t.Fatal(err)
	}
	want := "4000000|4000000|56|May18|pts/3|Rsl+|01-03:01:02|1621:02|02-00:00:00|4096|8192|a?]0;x|[a?]0;x]"
	if got := strings.Join(rows[0], "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, tt := range []struct {
		device int
		want   string
	}{{0, "?"}, {4<<8 | 1, "tty1"}, {4<<8 | 65, "ttyS1"}, {5<<8 | 1, "console"}, {9<<8 | 2, "9,2"}} {
		if got := ttyName(tt.device); got != tt.want {
			t.Errorf("terminal %#x is %s, not %s", tt.device, got, tt.want)
		}
	}
	if got := startTime(now.AddDate(-1, 0, 0), now); got != "2025" {
		t.Errorf("started last year: %s", got)
	}
	if got := shortUser("systemd-network"); got != "systemd+" {
		t.Errorf("a long name is %s", got)
	}
}

func TestUnknownArgumentsAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-l", "-o pid,nosuch", "--forest"} {
		if _, _, err := Format(nil, args, time.Now()); !errors.Is(err, ErrArguments) {
			t.Errorf("%s: %v", args, err)
		}
	}
	if titles, _, err := Format(nil, "aux", time.Now()); err != nil || strings.Join(titles, " ") != "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND" {
		t.Errorf("aux: %v %v", titles, err)
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	u := Users{}
	if u.Name(0) != "root" || u.Name(4_000_000) != "4000000" {
		t.Errorf("users are %v", u)
	}
	if all, err := Read([]int{os.Getpid()}); err != nil || len(all) != 1 || all[0].UID != os.Geteuid() || len(all[0].Args) == 0 {
		t.Errorf("this process is %+v %v", all, err)
	}
}
