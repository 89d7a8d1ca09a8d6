package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime"
	"tutti/runtime/keeper"
	"tutti/runtime/keeper/wire"
	"tutti/runtime/logs"
	"tutti/scheduler/layout"
)

const (
	exitBequeathed = 3           // of an engine that another keeper's engine replaces
	bequeathRetry  = time.Second // after the start of another keeper failed
	engineOOMScore = "-500"      // dockerd's
)

// bequeath waits for the death of the keeper, starts another, hands over to it and ends this process: the next engine has
// to be the new keeper's child, or it could not make containers that are. It is the same as a kill for everything that
// goes on here, and a kill at any moment does no harm. ctx only ends the attempts: without a keeper no engine goes on.
func bequeath(ctx context.Context, k *keeper.Client, o keeper.StartOptions, log *slog.Logger) {
	<-k.Lost()
	log.Warn("the keeper was killed: another is to take over, with another engine")
	for {
		err := k.Bequeath(ctx, o)
		if err != nil {
			log.Error("replace the keeper", "error", err)
		}
		if err == nil || errors.Is(err, keeper.ErrSucceeded) || ctx.Err() != nil {
			os.Exit(exitBequeathed)
		}
		select {
		case <-ctx.Done():
		case <-time.After(bequeathRetry):
		}
	}
}

// startOptions are those with which this engine was started.
func startOptions(p layout.Paths) keeper.StartOptions {
	environ := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, wire.EnvFD+"=") || strings.HasPrefix(v, wire.EnvVersion+"=")
	})
	return keeper.StartOptions{RunDir: p.Run, LogFile: p.EngineLog(), EngineArgv: os.Args, EngineEnv: environ}
}

// setOOMScore makes the kernel choose others before the engine when memory is short, proc_pid_oom_score_adj(5). The keeper
// is even less likely to be chosen. Best effort: only the first needs no privilege.
func setOOMScore() {
	if f, err := os.OpenFile("/proc/self/oom_score_adj", os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString(engineOOMScore)
		_ = f.Close()
	}
}

// codeUnseen is docker's exit code for an end that nobody saw.
const codeUnseen = 255

// whyUnseen is the reason of an exit code that is not known.
func whyUnseen(err error) string {
	if errors.Is(err, keeper.ErrUnseen) || errors.Is(err, keeper.ErrUnknown) {
		return "the exit code is not known: it ended while neither engine nor keeper ran"
	}
	return "the exit code is not known: " + err.Error()
}

// recoverOutput finds the pipes of a container of which nobody holds any: keeper and engine were killed together. Then the
// container's own descriptors are the only way to them.
func (e *Engine) recoverOutput(u *Unit, p *runtime.Container, out output) (output, error) {
	if out.pipes != nil || out.console != nil || u.Log == nil || u.state.Output == [2]uint64{} {
		return out, nil
	}
	if p.State().Status == runtime.StatusStopped {
		return out, nil
	}
	pids, err := p.Pids()
	if err != nil {
		return out, err
	}
	pipes, err := logs.Reopen(pids, u.state.Output)
	if errors.Is(err, logs.ErrNoOutput) {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	out.pipes = pipes
	if err := e.keeper.Hold(u.ID, pipes.Files()); err != nil {
		return out, fmt.Errorf("hold the output of container %s: %w", u.Name(), err)
	}
	return out, nil
}

// lockRootWait is how long an engine waits for one that is just ending, see bequeath.
const lockRootWait = 5 * time.Second

// flockSoon takes an exclusive flock(2) that its present holder is about to give up.
func flockSoon(ctx context.Context, f *os.File, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
