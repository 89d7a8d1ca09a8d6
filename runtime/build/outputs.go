package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session/filesync"

	"tutti/runtime/image"
)

// Output is a place for the result (docker build --output).
type Output struct {
	// Type is "image" or "docker" (the image store, or with a destination a docker
	// archive), "registry" (the store, and pushed), "oci" (an archive), "tar" or
	// "local" (the files of the result), or "cacheonly".
	Type  string
	Dest  string    // a folder for local, a file for the others
	To    io.Writer `json:"-"` // instead of a file
	Attrs map[string]string
}

// stored tells whether the output is an image in the store.
func (o Output) stored() bool {
	return o.Type == "image" || o.Type == "registry" || o.Type == "docker" && o.Dest == "" && o.To == nil
}

// pushed tells whether the image goes to a registry, too.
func (o Output) pushed() bool {
	push, err := strconv.ParseBool(o.Attrs["push"])
	return o.Type == "registry" || o.stored() && err == nil && push
}

// outputs are those that the request has, or else the default.
func (r Request) outputs() []Output {
	if len(r.Outputs) == 0 {
		return []Output{{Type: "image"}}
	}
	return r.Outputs
}

// names are all names that the result gets in the store.
func (r Request) names() []string {
	names := slices.Clone(r.Tags)
	for _, o := range r.outputs() {
		if name := o.Attrs["name"]; name != "" && o.stored() {
			names = append(names, strings.Split(name, ",")...)
		}
	}
	return names
}

// fullNames are the names of the result with registry and tag.
func fullNames(r Request) []string {
	var full []string
	for _, name := range r.names() {
		if normal, err := image.Normalize(name); err == nil { // checkRequest says otherwise
			full = append(full, normal)
		}
	}
	return full
}

// exports describes the outputs to BuildKit. The files are named by keep, or
// removed by discard, once the build has ended.
func (b *Builder) exports(r Request) ([]client.ExportEntry, []*outputFile, error) {
	var list []client.ExportEntry
	var files []*outputFile
	stored := false
	for _, o := range r.outputs() {
		switch {
		case o.Type == "cacheonly":
		case o.stored():
			if o.pushed() && len(r.names()) == 0 {
				return nil, nil, errors.New("tag is needed when pushing to registry")
			}
			stored = true
		case o.Type == "local":
			entry, err := folderExport(o)
			if err != nil {
				return nil, nil, err
			}
			list = append(list, entry)
		default:
			entry, file, err := fileExport(o, r.Tags)
			if err != nil {
				return nil, nil, err
			}
			list, files = append(list, entry), append(files, file)
		}
	}
	if stored { // the last one, for its answers count where several exporters have some
		list = append(list, b.storeExport(r))
	}
	return list, files, nil
}

// storeExport has the image stored without a name: BuildKit would name it before it
// unpacks it.
func (b *Builder) storeExport(r Request) client.ExportEntry {
	attrs := map[string]string{
		"dangling-name-prefix": b.backend.DanglingPrefix,
		"unpack":               "true",
		"oci-mediatypes":       "true",
		"compression":          "uncompressed", // layers are read here, not sent
	}
	for key, value := range r.Annotations {
		attrs["annotation."+key] = value
	}
	return client.ExportEntry{Type: client.ExporterImage, Attrs: attrs}
}

func folderExport(o Output) (client.ExportEntry, error) {
	entry := client.ExportEntry{Type: client.ExporterLocal, Attrs: o.Attrs, OutputDir: o.Dest}
	if o.Dest == "" {
		return entry, errors.New("dest is required for local exporter")
	}
	info, err := os.Stat(o.Dest)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return entry, fmt.Errorf("output folder: %w", err)
	case !info.IsDir():
		return entry, fmt.Errorf("destination directory %s is a file", o.Dest)
	}
	return entry, nil
}

// fileExport makes an archive of the result.
func fileExport(o Output, tags []string) (client.ExportEntry, *outputFile, error) {
	entry := client.ExportEntry{Type: o.Type, Attrs: maps.Clone(o.Attrs)}
	if entry.Attrs == nil {
		entry.Attrs = map[string]string{}
	}
	switch o.Type {
	case client.ExporterTar:
	case client.ExporterOCI, client.ExporterDocker:
		if archive, err := strconv.ParseBool(o.Attrs["tar"]); err == nil && !archive {
			return entry, nil, fmt.Errorf("output type %s with tar=false is not supported: give a file as its dest", o.Type)
		}
		if len(tags) > 0 && entry.Attrs["name"] == "" {
			entry.Attrs["name"] = strings.Join(tags, ",")
		}
	default:
		return entry, nil, fmt.Errorf("output type %q is not supported: image, docker, registry, oci, tar, local or cacheonly", o.Type)
	}
	if o.Dest == "" && o.To == nil {
		return entry, nil, fmt.Errorf("dest is required for %s exporter", o.Type)
	}
	if info, err := os.Stat(o.Dest); o.To == nil && err == nil && info.IsDir() {
		return entry, nil, fmt.Errorf("destination file %s is a directory", o.Dest)
	}
	file := &outputFile{path: o.Dest, to: o.To}
	entry.Output = file.open()
	return entry, file, nil
}

// outputFile is an archive that becomes visible when it is whole. What is no regular
// file, such as a pipe, is written directly.
type outputFile struct {
	path string
	to   io.Writer
	part *os.File
}

func (f *outputFile) open() filesync.FileOutputFunc {
	return func(map[string]string) (io.WriteCloser, error) {
		if f.to != nil {
			return nopCloser{f.to}, nil
		}
		if info, err := os.Stat(f.path); err == nil && !info.Mode().IsRegular() {
			return os.OpenFile(f.path, os.O_WRONLY, 0)
		}
		part, err := os.CreateTemp(filepath.Dir(f.path), "."+filepath.Base(f.path)+"-*")
		if err != nil {
			return nil, fmt.Errorf("output file: %w", err)
		}
		f.part = part
		return part, nil
	}
}

// keep gives the file its name.
func (f *outputFile) keep() error {
	if f.part == nil {
		return nil
	}
	if err := os.Chmod(f.part.Name(), 0o644); err != nil { //nolint:gosec // what a user's redirection makes
		return errors.Join(fmt.Errorf("output file: %w", err), f.discard())
	}
	if err := os.Rename(f.part.Name(), f.path); err != nil {
		return errors.Join(fmt.Errorf("output file: %w", err), f.discard())
	}
	return nil
}

func (f *outputFile) discard() error {
	if f.part == nil {
		return nil
	}
	_ = f.part.Close() // BuildKit has, unless the build failed
	return os.Remove(f.part.Name())
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// finish keeps the files of a build that went well and discards those of another.
func finish(files []*outputFile, failed error) error {
	for _, f := range files {
		if failed == nil {
			failed = f.keep()
			continue
		}
		failed = errors.Join(failed, f.discard())
	}
	return failed
}

// push sends the result to the registries of its names, when the request says so.
func (b *Builder) push(ctx context.Context, r Request, status *progress) error {
	if !slices.ContainsFunc(r.outputs(), Output.pushed) {
		return nil
	}
	for _, name := range r.names() {
		if err := status.step(ctx, "pushing "+name, func() error { return b.pushOne(ctx, name, r.Auth) }); err != nil {
			return err
		}
	}
	return nil
}

func (b *Builder) pushOne(ctx context.Context, name string, auth image.Auth) error {
	_, err := b.store.Push(ctx, name, image.PushOptions{Auth: auth})
	return err
}
