package ship

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
)

// journalSink writes entries with the fields that Docker's journald driver writes
// (https://docs.docker.com/engine/logging/drivers/journald/).
type journalSink struct {
	fields map[string]string
}

func openJournal(t Target) (sink, error) {
	if !journal.Enabled() {
		return nil, errors.New("journald is not enabled on this host: /run/systemd/journal/socket does not answer")
	}
	fields := map[string]string{"CONTAINER_TAG": t.Tag, "SYSLOG_IDENTIFIER": t.Tag}
	for name, value := range t.Fields {
		fields[FieldName(name)] = value
	}
	return &journalSink{fields: fields}, nil
}

func (s *journalSink) send(m message) error {
	priority := journal.PriInfo
	if m.stderr {
		priority = journal.PriErr
	}
	fields := maps.Clone(s.fields)
	fields["SYSLOG_TIMESTAMP"] = m.at.Format(time.RFC3339Nano)
	if m.partial {
		fields["CONTAINER_PARTIAL_MESSAGE"] = "true"
	}
	if err := journal.Send(string(m.text), priority, fields); err != nil {
		return fmt.Errorf("write to the journal: %w", err)
	}
	return nil
}

func (s *journalSink) close() error { return nil } // the connection is the process's

// FieldName turns a label's or variable's name into one that the journal takes: capital letters, digits and underscores,
// no underscore first (systemd.journal-fields(7)).
func FieldName(name string) string {
	return strings.TrimLeft(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name), "_")
}
