package progress

import "tutti/scheduler/api"

// style is an SGR parameter list; empty is plain text.
type style string

const (
	plain  style = ""
	red    style = "31;1"
	green  style = "32"
	yellow style = "33"
	amber  style = "33;1"
	blue   style = "34"
)

func (s style) apply(text string) string {
	if s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

func phaseStyle(p api.Phase) style {
	switch p {
	case api.PhaseDone:
		return green
	case api.PhaseWarning:
		return amber
	case api.PhaseError:
		return red
	case api.PhaseWorking:
	}
	return plain
}
