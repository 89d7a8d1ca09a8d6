// Dnsserver is a DNS server on port 53 of all addresses, as in a container: it answers 192.0.2.77 for own.test and asks the
// resolver of its container for everything else.
package main

import (
	"context"
	"log"
	"net"
	"os/signal"
	"syscall"

	"github.com/miekg/dns"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 2)
	for _, network := range []string{"udp", "tcp"} {
		s := &dns.Server{Addr: ":53", Net: network, Handler: dns.HandlerFunc(serve)}
		go func() { failed <- s.ListenAndServe() }()
	}
	select {
	case err := <-failed:
		log.Fatal(err)
	case <-ctx.Done():
	}
}

func serve(w dns.ResponseWriter, q *dns.Msg) {
	answer := new(dns.Msg).SetReply(q)
	if len(q.Question) == 1 && q.Question[0].Name == "own.test." {
		if q.Question[0].Qtype == dns.TypeA {
			answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "own.test.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(192, 0, 2, 77)}}
		}
	} else if from, _, err := new(dns.Client).Exchange(q, "127.0.0.11:53"); err == nil {
		answer = from
	} else {
		answer.Rcode = dns.RcodeServerFailure
	}
	_ = w.WriteMsg(answer) // the client asks again
}
