package portmap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coreos/go-iptables/iptables"

	"tutti/netdriver/netns"
)

// lockWait is how many seconds an iptables program waits for others to finish.
const lockWait = "10"

// Firewall keeps the rules of an instance in force by iptables, IPv4 and IPv6.
type Firewall struct {
	host     *netns.NS
	instance string
	log      *slog.Logger
	notice   sync.Once
	children children
	restored atomic.Uint64 // batches that put back what others had removed
	families [2]*tables4or6
}

// tables4or6 is the firewall of a family.
type tables4or6 struct {
	family
	detect  func() error // why there is none, asked once
	noNAT   atomic.Bool  // the kernel has no nat table, as was found when rules were to be set
	clean   bool         // nothing of ours is there, as far as is known
	applied []chain      // what was brought into force last
}

// NewFirewall returns the firewall of a host, in whose namespace it works.
func NewFirewall(host *netns.NS, instance string, log *slog.Logger) *Firewall {
	f := &Firewall{host: host, instance: instance, log: log}
	for i, kind := range []family{ipv4, ipv6} {
		f.families[i] = &tables4or6{family: kind, detect: sync.OnceValue(kind.detect)}
	}
	return f
}

// detect tells why iptables cannot be used, if so.
func (f family) detect() error {
	proto := iptables.ProtocolIPv4
	if !f.is4 {
		proto = iptables.ProtocolIPv6
	}
	if _, err := iptables.New(iptables.IPFamily(proto)); err != nil {
		return err
	}
	for _, program := range []string{f.name + "-save", f.name + "-restore"} {
		if _, err := exec.LookPath(program); err != nil {
			return err
		}
	}
	return nil
}

// Translates tells whether the rules lead ports into containers, as far as is known: whether the kernel can shows when the
// first rules are set.
func (f *Firewall) Translates() bool { return f.Available() && !f.families[0].noNAT.Load() }

// Restored counts the batches that put back rules which this firewall had set, and others had removed since.
func (f *Firewall) Restored() uint64 { return f.restored.Load() }

// Available tells whether the host has iptables.
func (f *Firewall) Available() bool { return f.families[0].detect() == nil }

// Apply brings the rules into force, in one batch for each table and family; if everything
// is in place it changes nothing. Without any network it removes all rules of the instance.
// On a host without iptables it says so in the log, once: ports are served by proxies then,
// and there is neither a way out nor one between networks.
func (f *Firewall) Apply(ctx context.Context, r Rules) error {
	var wg sync.WaitGroup
	var errs [2]error
	for i, t := range f.families {
		want := chains(t.family, f.instance, r)
		if len(want) == 0 && t.clean {
			continue
		}
		if reason := t.detect(); reason != nil {
			if len(want) > 0 {
				f.notice.Do(func() {
					f.log.Warn("no "+t.name+": containers do not reach the outside, published ports are served by a proxy, and networks are not isolated if this host forwards; install iptables", "reason", reason)
				})
			}
			t.clean = true
			continue
		}
		wg.Go(func() {
			if errs[i] = f.applyFamily(ctx, t, want); errs[i] == nil {
				t.clean, t.applied = len(want) == 0, want
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *Firewall) applyFamily(ctx context.Context, t *tables4or6, want []chain) error {
	saved, err := f.run(ctx, "", t.name+"-save")
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() && len(want) == 0 {
			return nil // a kernel without IPv6: there is nothing of ours. A program that was killed says nothing of the kind.
		}
		return err
	}
	input := batch(t.family, f.instance, t.tables(), want, parse(saved))
	if input == "" {
		return nil
	}
	if t.applied != nil && slices.EqualFunc(t.applied, want, chain.equal) {
		f.restored.Add(1)
	}
	_, err = f.run(ctx, input, t.name+"-restore", "--noflush", "-w", lockWait)
	if err == nil || t.noNAT.Load() || !f.lacksNAT(ctx, t) {
		return err
	}
	f.log.Warn("the kernel has no nat table of "+t.name+": containers do not reach the outside, and published ports are served by a proxy", "reason", err)
	t.noNAT.Store(true)
	return f.applyFamily(ctx, t, want)
}

// tables are those that the kernel has.
func (t *tables4or6) tables() []string {
	if t.noNAT.Load() {
		return allTables[:1]
	}
	return allTables
}

// lacksNAT tells whether iptables works but for the nat table, by trying on a namespace of its own.
func (f *Firewall) lacksNAT(ctx context.Context, t *tables4or6) bool {
	scratch, err := netns.NewBare()
	if err != nil {
		return false
	}
	defer scratch.Close()
	trial := &Firewall{host: scratch, log: f.log}
	works := func(table string) bool {
		_, err := trial.run(ctx, "*"+table+"\n:TUTTI-TRIAL - [0:0]\nCOMMIT\n", t.name+"-restore", "--noflush")
		return err == nil
	}
	return works("filter") && !works("nat")
}

// run runs a program of iptables in the host's namespace.
func (f *Firewall) run(ctx context.Context, input, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &complaint
	err := f.host.Do(func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		f.children.add(cmd.Process.Pid)
		return cmd.Wait()
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}
