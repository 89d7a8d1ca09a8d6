// Package reach explains what became of packets that were sent to find out who reaches whom. It is pure: who sends them
// and looks what listens is the engine.
package reach

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tutti/dns"
	"tutti/netdriver/probe"
	"tutti/scheduler/api"
)

// Attempt is one address and port that was tried, with what is known about it.
type Attempt struct {
	Target   string // whose address it is, for messages
	Proto    string // tcp, udp, icmp
	To       netip.AddrPort
	Outcome  probe.Outcome
	Watched  bool          // somebody looked whether it arrived, or left the host
	Beyond   bool          // the target is not on this host
	Sockets  []probe.Bound // what waits at the target
	Known    bool          // Sockets is
	Barrier  Barrier       // what is between the two by the model
	Networks string        // for the barrier's explanation
	Dropper  string        // who drops what is forwarded, if that is known
}

// Barrier is what keeps two apart on purpose.
type Barrier string

// The barriers.
const (
	Open     Barrier = ""
	Apart    Barrier = "apart"    // they share no network
	Isolated Barrier = "isolated" // they share one whose containers may not talk to one another
	Beside   Barrier = "beside"   // one is the host, and the other on the wire beside it
	Inside   Barrier = "inside"   // all networks of the one who asks are internal, and the target is outside
)

// Judge says whether the target was reached, and if not, why.
func (a Attempt) Judge() (reached bool, reason api.ReachReason, detail string) {
	o := a.Outcome
	switch {
	case o.State == probe.Answered && a.Proto == "tcp":
		return true, "", "open"
	case o.State == probe.Answered:
		return true, "", "answers"
	case o.State == probe.Silent && a.Proto == "udp" && o.Seen != nil && len(a.takers()) > 0:
		return true, "", "delivered; " + a.Target + " has the port open and did not answer, as it need not"
	case o.State == probe.Failed:
		return false, api.ReasonProbeFailed, "could not be tried: " + o.Err.Error()
	}
	if reason, detail := a.barrier(); reason != "" {
		return false, reason, detail
	}
	if o.State == probe.Refused {
		reason, detail = a.refusal()
	} else {
		reason, detail = a.silence()
	}
	return false, reason, detail
}

// barrier explains by what keeps the two apart on purpose, unless it was the target itself that refused.
func (a Attempt) barrier() (api.ReachReason, string) {
	what := string(a.Outcome.State)
	switch {
	case a.Outcome.State == probe.Refused:
		return "", ""
	case a.Barrier == Apart:
		return api.ReasonNoCommon, what + ": no network in common"
	case a.Barrier == Isolated:
		return api.ReasonNoICC, what + ": containers on " + a.Networks + " may not talk to one another (com.docker.network.bridge.enable_icc)"
	case a.Barrier == Beside:
		return api.ReasonBeside, what + ": the kernel does not connect the host with containers on " + a.Networks
	case a.Barrier == Inside:
		return api.ReasonInternal, what + ": there is no way out of " + a.Networks
	}
	return "", ""
}

// takers are the sockets of the target that take what is sent to the address.
func (a Attempt) takers() []probe.Bound {
	return slices.DeleteFunc(slices.Clone(a.Sockets), func(b probe.Bound) bool { return !b.Takes(a.Proto, a.To) })
}

// refusal explains a reset, or ICMP's word that the port is unreachable.
func (a Attempt) refusal() (api.ReachReason, string) {
	if !a.Known {
		return api.ReasonNotListening, "refused: nothing listens on the port, or a firewall rejects it"
	}
	switch takers := a.takers(); {
	case slices.ContainsFunc(takers, func(b probe.Bound) bool { return b.Addr.Addr().Is4() == a.To.Addr().Is4() }):
		return api.ReasonRejected, "refused, although " + a.Target + " listens: a firewall rejects it"
	case len(takers) > 0:
		return api.ReasonOtherAddress, fmt.Sprintf("refused: %s listens on %s, which may be for IPv6 alone", a.Target, takers[0].Addr)
	}
	var others []string
	loopback := true
	for _, b := range a.Sockets {
		if b.Proto == a.Proto && b.Addr.Port() == a.To.Port() && b.Addr != dns.Listen {
			others = append(others, b.Addr.String())
			loopback = loopback && b.Addr.Addr().IsLoopback()
		}
	}
	switch {
	case len(others) == 0:
		return api.ReasonNotListening, fmt.Sprintf("nothing in %s listens on port %d", a.Target, a.To.Port())
	case loopback:
		return api.ReasonLoopbackOnly, fmt.Sprintf("%s listens on %s only, where nobody else comes: let it listen on 0.0.0.0", a.Target, strings.Join(others, " and "))
	}
	return api.ReasonOtherAddress, fmt.Sprintf("%s listens on %s only", a.Target, strings.Join(others, " and "))
}

// silence explains that nothing came back, or that something on the way said no.
func (a Attempt) silence() (api.ReachReason, string) {
	o := a.Outcome
	switch o.State { //nolint:exhaustive // the others are explained before
	case probe.NoRoute:
		return api.ReasonNoRoute, "no route there"
	case probe.Prohibited:
		return api.ReasonDropped, "a firewall inside does not let it out"
	case probe.Unreachable:
		if o.Seen == nil || a.Beyond {
			return api.ReasonUnreachable, "unreachable: nobody has the address, or a firewall on the way rejects it"
		}
		return api.ReasonRejected, "rejected by a firewall"
	}
	switch {
	case o.Seen != nil && a.Beyond:
		return api.ReasonUnanswered, fmt.Sprintf("no answer, although it left the host by %s (from %s)", o.Seen.Interface, o.Seen.Source)
	case a.Watched && a.Beyond:
		return api.ReasonDropped, "no answer, and nothing left the host: " + cmp.Or(a.Dropper, "a firewall drops it")
	case o.Seen != nil:
		return api.ReasonUnanswered, fmt.Sprintf("no answer, although it arrived at %s (from %s): look for a firewall in %s, or a program that does not accept",
			o.Seen.Interface, o.Seen.Source, a.Target)
	case a.Watched:
		return api.ReasonDropped, "no answer, and nothing arrived: " + cmp.Or(a.Dropper, "a firewall on the way drops it")
	}
	return api.ReasonUnanswered, "no answer"
}
