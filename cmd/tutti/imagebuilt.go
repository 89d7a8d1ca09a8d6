package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"tutti/scheduler/api"
)

// buildOneImage lets the engine build and writes what the flags ask for.
func (a *app) buildOneImage(ctx context.Context, b *imageBuildFlags, q api.ImageBuildRequest, stdin io.Reader) error {
	for _, o := range q.Outputs {
		if _, tty := terminal(a.out); o.Stdout && tty {
			return fmt.Errorf("dest file is required for %s exporter. refusing to write to console", o.Type)
		}
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	d := a.display(ctx, "build", displayOptions{quiet: b.quiet})
	defer d.Close()
	found := checks{out: a.out}
	var result api.Event
	var writeErr error
	err = c.BuildImage(ctx, q, stdin, func(e api.Event) {
		switch e.Kind {
		case api.KindBuilt:
			result = e
		case api.KindCheck:
			found.add(e)
		case api.KindOutput:
			if writeErr == nil {
				_, writeErr = a.out.Write(e.Data)
			}
		default:
			d.Event(e)
		}
	})
	d.Close()
	if err := errors.Join(err, writeErr); err != nil {
		return err
	}
	if q.Check {
		return found.end()
	}
	if b.quiet && result.Name != "" {
		fmt.Fprintln(a.out, result.Name)
	}
	return b.write(result)
}

// write writes the files about the result.
func (b *imageBuildFlags) write(result api.Event) error {
	if b.iidFile != "" {
		if result.Name == "" {
			return errors.New("--iidfile: there is no image, because the outputs are others")
		}
		if err := writeWhole(b.iidFile, bytes.NewReader([]byte(result.Name))); err != nil {
			return fmt.Errorf("--iidfile: %w", err)
		}
	}
	if b.metadataFile == "" {
		return nil
	}
	text, err := json.MarshalIndent(metadata(result.Metadata), "", "  ")
	if err != nil {
		return err
	}
	if err := writeWhole(b.metadataFile, bytes.NewReader(text)); err != nil {
		return fmt.Errorf("--metadata-file: %w", err)
	}
	return nil
}

// metadata unpacks what exporters say: values that are JSON in base64 are shown as JSON.
func metadata(said map[string]string) map[string]any {
	out := map[string]any{}
	for key, value := range said {
		out[key] = value
		data, err := base64.StdEncoding.DecodeString(value)
		if err != nil || len(data) == 0 || data[0] != '{' && data[0] != '[' || !json.Valid(data) {
			continue
		}
		out[key] = json.RawMessage(data)
	}
	return out
}
