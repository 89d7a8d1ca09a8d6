package image

import (
	"context"
	"io"
	"log/slog"
	"sync"

	"github.com/sirupsen/logrus"
)

// routeLogs sends what containerd and BuildKit log, through logrus, to the
// engine's slog logger. Their warnings are about attempts that have another way or
// end in an error, which the caller reports: they are for debugging only.
var routeLogs = sync.OnceFunc(func() {
	logger := logrus.StandardLogger()
	logger.SetOutput(io.Discard)
	logger.SetFormatter(noFormat{})
	logger.AddHook(slogHook{})
})

type slogHook struct{}

func (slogHook) Levels() []logrus.Level { return logrus.AllLevels }

func (slogHook) Fire(e *logrus.Entry) error {
	ctx := e.Context
	if ctx == nil {
		ctx = context.TODO() //nolint:forbidigo // logrus entries mostly have no context
	}
	level := slog.LevelDebug
	if e.Level <= logrus.ErrorLevel {
		level = slog.LevelWarn
	}
	if !slog.Default().Enabled(ctx, level) {
		return nil
	}
	attributes := make([]any, 0, 2*len(e.Data))
	for key, value := range e.Data {
		attributes = append(attributes, key, value)
	}
	slog.Log(ctx, level, e.Message, attributes...)
	return nil
}

// noFormat saves the work of formatting for a discarded output.
type noFormat struct{}

func (noFormat) Format(*logrus.Entry) ([]byte, error) { return nil, nil }
