package api

import (
	"net/netip"
	"time"
)

// The targets of a check that are no services. A service of such a name takes precedence.
const (
	ReachHost    = "host"    // the machine that the containers run on, at the address that it has on their network
	ReachOutside = "outside" // whatever is behind the host
)

// ReachRequest asks who reaches whom. It travels as a query: from, to, timeout.
type ReachRequest struct {
	From    string        // a service; empty: each
	To      string        // a service, ReachHost, ReachOutside, an address or a name, all with :PORT or :PORT/udp if need be; empty: each service, the host and outside
	Timeout time.Duration // how long an answer is waited for
}

// Reach is what packets found out about who reaches whom.
type Reach struct {
	Project string       `json:"project"`
	At      time.Time    `json:"at"`
	Checks  []ReachCheck `json:"checks"`
}

// ReachResult is the result of a check.
type ReachResult string

// The results, from the best to the worst.
const (
	ReachYes    ReachResult = "yes"
	ReachPartly ReachResult = "partly" // some replicas, or some of the ports asked for
	ReachClosed ReachResult = "closed" // the address answers, but at the port nothing listens
	ReachNo     ReachResult = "no"
)

// ReachReason says why something is not reached.
type ReachReason string

// The reasons.
const (
	ReasonNotRunning    ReachReason = "not-running"
	ReasonNoNetwork     ReachReason = "no-network"        // of two containers, one is on none
	ReasonNoCommon      ReachReason = "no-common-network" // they share none
	ReasonInternal      ReachReason = "internal-network"  // all networks of the one who asks are internal
	ReasonNoICC         ReachReason = "icc-disabled"      // containers on the network may not talk to one another
	ReasonBeside        ReachReason = "beside-host"       // the kernel does not connect the host with macvlan and ipvlan
	ReasonNotListening  ReachReason = "not-listening"
	ReasonLoopbackOnly  ReachReason = "loopback-only" // it listens on 127.0.0.1 or ::1 alone
	ReasonOtherAddress  ReachReason = "other-address" // it listens on other addresses
	ReasonRejected      ReachReason = "rejected"      // a firewall says no
	ReasonDropped       ReachReason = "dropped"       // nothing arrived
	ReasonUnanswered    ReachReason = "unanswered"    // it arrived, or has left the host, and nothing came back
	ReasonNoRoute       ReachReason = "no-route"
	ReasonUnreachable   ReachReason = "unreachable" // nobody has the address
	ReasonNameUnknown   ReachReason = "name-unknown"
	ReasonProbeFailed   ReachReason = "probe-failed"
	ReasonNoUplink      ReachReason = "no-uplink" // the host has no default route
	ReasonNoneOfService ReachReason = "no-container"
)

// ReachCheck is whether a service reaches a target.
type ReachCheck struct {
	From    string      `json:"from"`
	To      string      `json:"to"`
	Port    string      `json:"port,omitempty"` // that was asked for: "80/tcp"
	Result  ReachResult `json:"result"`
	Reason  ReachReason `json:"reason,omitempty"`
	Summary string      `json:"summary"`
	Name    *ReachName  `json:"name,omitempty"` // what the target's name resolves to for the one who asks
	Paths   []ReachPath `json:"paths,omitempty"`
}

// ReachName is a lookup by the resolver of the one who asks.
type ReachName struct {
	Name  string       `json:"name"`
	Addrs []netip.Addr `json:"addresses,omitempty"`
	Error string       `json:"error,omitempty"` // NXDOMAIN, SERVFAIL ...
}

// ReachPath is one address and port that was tried.
type ReachPath struct {
	Container string        `json:"container,omitempty"` // that has the address
	Network   string        `json:"network,omitempty"`   // that is shared; for a container without one in common, its own
	Address   netip.Addr    `json:"address"`
	Port      uint16        `json:"port,omitempty"`
	Proto     string        `json:"proto"` // tcp, udp, icmp
	Reached   bool          `json:"reached"`
	Reason    ReachReason   `json:"reason,omitempty"`
	Detail    string        `json:"detail"`
	RTT       time.Duration `json:"rtt,omitempty"`    // ns, of an answer
	Source    netip.Addr    `json:"source,omitzero"`  // the address that it was sent from
	SeenAt    string        `json:"seenAt,omitempty"` // the interface at which it was seen to arrive, or to leave the host
}
