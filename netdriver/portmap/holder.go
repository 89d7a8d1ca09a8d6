package portmap

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tutti/netdriver/netns"
)

// Holder tells who holds a port of the host, as "1234 (nginx)", or "another program" if that
// cannot be found out. It is somebody else for certain when a process is found that is neither this one nor its child or
// sibling: those may just be about to execute their program, and have all open files of this one until then.
func Holder(host *netns.NS, proto string, addr netip.AddrPort) (who string, other bool) {
	links := map[string]bool{}
	_ = host.Do(func() error { // without a table nobody is found
		for _, table := range []string{proto, proto + "6"} {
			f, err := os.Open(filepath.Join("/proc/thread-self/net", table))
			if err != nil {
				continue
			}
			for lines := bufio.NewScanner(f); lines.Scan(); {
				if inode, ok := boundTo(lines.Text(), proto, addr); ok {
					links["socket:["+inode+"]"] = true
				}
			}
			_ = f.Close()
		}
		return nil
	})
	if len(links) == 0 {
		return "another program", false
	}
	return process(links)
}

// boundTo tells whether a line of /proc/net/tcp or udp, see proc_net(5), is a socket that is
// bound to the address or one that includes it, and returns the socket's inode.
func boundTo(line, proto string, addr netip.AddrPort) (inode string, ok bool) {
	const local, state, inodeField = 1, 3, 9
	fields := strings.Fields(line)
	if len(fields) <= inodeField || proto == "tcp" && fields[state] != "0A" { // TCP_LISTEN
		return "", false
	}
	host, port, _ := strings.Cut(fields[local], ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil || uint16(n) != addr.Port() {
		return "", false
	}
	a, err := procAddr(host)
	if err != nil || a.Unmap() != addr.Addr() && !a.IsUnspecified() && !addr.Addr().IsUnspecified() {
		return "", false
	}
	return fields[inodeField], true
}

// procAddr reads an address as /proc/net prints it: 32-bit words in the machine's byte
// order, which is little endian wherever tutti runs.
func procAddr(s string) (netip.Addr, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b)%4 != 0 {
		return netip.Addr{}, fmt.Errorf("no address: %q", s)
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.Addr{}, fmt.Errorf("no address: %q", s)
	}
	return a, nil
}

// process returns the first process that has one of the sockets open, and whether it is no relative of this one.
func process(links map[string]bool) (who string, other bool) {
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*") // a process that ends meanwhile is left out
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err != nil || !links[target] {
			continue
		}
		dir := filepath.Dir(filepath.Dir(fd))
		comm, _ := os.ReadFile(filepath.Join(dir, "comm"))
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		return fmt.Sprintf("%s (%s)%s", filepath.Base(dir), strings.TrimSpace(string(comm)), onBehalf(strings.Split(string(cmdline), "\x00"))), !related(dir)
	}
	return "the kernel, or a program that cannot be seen from here", false
}

// related tells whether a process is a child or a sibling of this one, and not itself.
func related(dir string) bool {
	if filepath.Base(dir) == strconv.Itoa(os.Getpid()) {
		return false
	}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return true // it has just ended
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])) // state, parent: see proc_pid_stat(5)
	if len(fields) < 2 {
		return false
	}
	parent, err := strconv.Atoi(fields[1])
	return err == nil && (parent == os.Getpid() || parent == os.Getppid())
}

// onBehalf says for whom a process holds a port, if its arguments tell.
func onBehalf(args []string) string {
	if filepath.Base(args[0]) == "docker-proxy" {
		if i := slices.Index(args, "-container-ip"); i >= 0 && i+1 < len(args) {
			return " for docker's container " + args[i+1]
		}
	}
	if i := slices.Index(args, "--root"); i >= 0 && i+1 < len(args) && slices.Contains(args, "engine") {
		return " for a container of the engine with --root " + args[i+1]
	}
	return ""
}
