// Package reachview prints for people who reaches whom.
package reachview

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"tutti/scheduler/api"
)

// meant are the reasons that the compose file gives: nothing has to be explained where they keep two apart.
var meant = map[api.ReachReason]bool{
	api.ReasonNoCommon: true, api.ReasonInternal: true, api.ReasonNoICC: true, api.ReasonNoNetwork: true,
}

// Matrix prints a row for each service and a column for each target, and below it what the compose file does not explain.
func Matrix(out io.Writer, report api.Reach) error {
	rows := cells(report, `FROM \ TO`)
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], len(cell))
		}
	}
	var b bytes.Buffer
	for _, r := range rows {
		for i, cell := range r {
			if i < len(r)-1 {
				cell = fmt.Sprintf("%-*s  ", widths[i], cell)
			}
			b.WriteString(cell)
		}
		b.WriteString("\n")
	}
	first := true
	for _, c := range report.Checks {
		if c.Result == api.ReachYes || meant[c.Reason] {
			continue
		}
		if first {
			b.WriteString("\n")
			first = false
		}
		b.WriteString(headline(c) + "\n")
	}
	_, err := b.WriteTo(out)
	return err
}

// Markdown prints the same table for a README, without explanations.
func Markdown(out io.Writer, report api.Reach) error {
	var b bytes.Buffer
	for i, r := range cells(report, `from \ to`) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r, " | "))
		if i == 0 {
			b.WriteString("|" + strings.Repeat("---|", len(r)) + "\n")
		}
	}
	_, err := b.WriteTo(out)
	return err
}

// cells are the table of a report, with its head.
func cells(report api.Reach, corner string) [][]string {
	rows := [][]string{{corner}}
	index := map[string]int{}
	for _, c := range report.Checks {
		i, ok := index[c.From]
		if !ok {
			i = len(rows)
			index[c.From] = i
			rows = append(rows, []string{c.From})
		}
		if i == 1 {
			rows[0] = append(rows[0], c.To)
		}
		rows[i] = append(rows[i], string(c.Result))
	}
	return rows
}

// Details prints every check with all that was tried for it.
func Details(out io.Writer, report api.Reach) error {
	var b bytes.Buffer
	for _, c := range report.Checks {
		b.WriteString(headline(c) + "\n")
		if n := c.Name; n != nil {
			switch {
			case n.Error != "":
				fmt.Fprintf(&b, "    %s does not resolve: %s\n", n.Name, n.Error)
			default:
				fmt.Fprintf(&b, "    %s resolves to %s\n", n.Name, join(n.Addrs))
			}
		}
		for _, p := range c.Paths {
			path(&b, p)
		}
	}
	_, err := b.WriteTo(out)
	return err
}

func headline(c api.ReachCheck) string {
	to := c.To
	if c.Port != "" {
		to += ":" + c.Port
	}
	line := fmt.Sprintf("%s → %s: %s", c.From, to, c.Result)
	if c.Summary != "" {
		line += ", " + c.Summary
	}
	return line
}

func path(b *bytes.Buffer, p api.ReachPath) {
	at := p.Address.String() + " by ping"
	switch {
	case !p.Address.IsValid():
		at = ""
	case p.Port != 0:
		at = netip.AddrPortFrom(p.Address, p.Port).String() + "/" + p.Proto
	}
	var of []string
	if p.Container != "" {
		of = append(of, p.Container)
	}
	if p.Network != "" {
		of = append(of, "on "+p.Network)
	}
	if len(of) > 0 {
		at = strings.TrimLeft(at+" ("+strings.Join(of, " ")+")", " ")
	}
	fmt.Fprintf(b, "    %s: %s", at, p.Detail)
	if p.RTT > 0 {
		fmt.Fprintf(b, ", after %s", p.RTT.Round(10*time.Microsecond))
	}
	b.WriteString("\n")
}

func join(addrs []netip.Addr) string {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return strings.Join(all, ", ")
}
