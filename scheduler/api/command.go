package api

import "strings"

// CommandLine is the argument vector of a container as docker shows it: what has a space in it stands in quotes.
func CommandLine(args []string) string {
	var b strings.Builder
	for i, a := range args {
		if i > 0 {
			b.WriteByte(' ')
			if strings.Contains(a, " ") {
				a = "'" + a + "'"
			}
		}
		b.WriteString(a)
	}
	return b.String()
}
