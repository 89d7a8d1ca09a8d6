package compare

import (
	"bufio"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
)

// room is a network and a mount namespace, so that what an engine does to links, rules and mounts goes with it.
type room struct{ holder *exec.Cmd }

func newRoom() (*room, error) {
	cmd := exec.Command("unshare", "--net", "--mount", "--", "sh", "-c", "ip link set lo up && echo ready && exec sleep infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &room{holder: cmd}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("namespaces: %q: %w", line, err), r.close())
	}
	return r, nil
}

// pid holds the namespaces.
func (r *room) pid() int { return r.holder.Process.Pid }

// command wraps a command so that it runs in the room.
func (r *room) command(command ...string) []string {
	return append([]string{"nsenter", "--target", strconv.Itoa(r.pid()), "--net", "--mount", "--"}, command...)
}

func (r *room) close() error {
	_ = r.holder.Process.Kill() // gone already: as well
	var exit *exec.ExitError
	if err := r.holder.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}
