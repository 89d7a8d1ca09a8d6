package image

import (
	"io"
	"log/slog"
	"sync"

	"github.com/sirupsen/logrus"
)

// routeLogs sends what containerd and BuildKit log, through logrus, to the
// engine's slog logger, for debugging only: what concerns the user ends in an error
// that the caller reports, and a cancelled build alone logs several "errors".
var routeLogs = sync.OnceFunc(func() {
	logger := logrus.StandardLogger()
	logger.SetOutput(io.Discard)
	logger.SetFormatter(noFormat{})
	logger.AddHook(slogHook{})
})

type slogHook struct{}

func (slogHook) Levels() []logrus.Level { return logrus.AllLevels }

func (slogHook) Fire(e *logrus.Entry) error {
	attributes := []any{"severity", e.Level.String()}
	for key, value := range e.Data {
		attributes = append(attributes, key, value)
	}
	slog.Debug(e.Message, attributes...) // entries mostly have no context
	return nil
}

// noFormat saves the work of formatting for a discarded output.
type noFormat struct{}

func (noFormat) Format(*logrus.Entry) ([]byte, error) { return nil, nil }
