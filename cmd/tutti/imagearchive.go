package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// platformQuery is --platform as docker's API takes it.
func platformQuery(list []string) (url.Values, error) {
	q := url.Values{}
	for _, text := range list {
		p, err := platforms.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("invalid platform %q: %w", text, err)
		}
		b, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		q.Add("platform", string(b))
	}
	return q, nil
}

// onePlatform adds --platform to a command about one platform of an image.
func onePlatform(what string) func(*pflag.FlagSet) func() (url.Values, error) {
	return func(f *pflag.FlagSet) func() (url.Values, error) {
		wanted := f.String("platform", "", what+`. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")`)
		return func() (url.Values, error) {
			if *wanted == "" {
				return nil, nil //nolint:nilnil // nothing is asked for
			}
			return platformQuery([]string{*wanted})
		}
	}
}

func (a *app) imageLoadCommand() *cobra.Command {
	var input string
	var quiet bool
	var wanted []string
	cmd := &cobra.Command{
		Use:   "load [OPTIONS]",
		Short: "Load an image from a tar archive or STDIN",
		Args:  noArgs,
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			q, err := platformQuery(wanted)
			if err != nil {
				return err
			}
			archive, err := a.openInput(input)
			if err != nil {
				return err
			}
			defer archive.Close()
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			// quiet of the API: the engine need not count bytes. What it loaded it says in any case.
			q.Set("quiet", "1")
			answer, err := c.Open(ctx, http.MethodPost, "/images/load?"+q.Encode(), archive)
			if err != nil {
				return err
			}
			defer answer.Close()
			return messages(answer, func(m jsonstream.Message) {
				if !quiet {
					fmt.Fprint(a.out, m.Stream)
				}
			})
		}),
	}
	cmd.Flags().StringVarP(&input, "input", "i", "", "Read from tar archive file, instead of STDIN")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress the load output")
	cmd.Flags().StringSliceVar(&wanted, "platform", nil, `Load only the given platform(s). Formatted as a comma-separated list of "os[/arch[/variant]]" (e.g., "linux/amd64,linux/arm64/v8").`)
	return cmd
}

// openInput opens an archive, or takes the standard input.
func (a *app) openInput(path string) (io.ReadCloser, error) {
	if path != "" && path != "-" {
		return os.Open(path)
	}
	if _, tty := terminal(a.in); tty {
		return nil, errors.New("requested load from stdin, but stdin is empty")
	}
	return io.NopCloser(a.in), nil
}

func (a *app) imageSaveCommand() *cobra.Command {
	var output string
	var wanted []string
	cmd := &cobra.Command{
		Use:   "save [OPTIONS] IMAGE [IMAGE...]",
		Short: "Save one or more images to a tar archive (streamed to STDOUT by default)",
		Args:  minArgs(1),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, names []string) error {
			q, err := platformQuery(wanted)
			if err != nil {
				return err
			}
			if _, tty := terminal(a.out); tty && output == "" {
				return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			q["names"] = names
			answer, err := c.Open(ctx, http.MethodGet, "/images/get?"+q.Encode(), nil)
			if err != nil {
				return err
			}
			defer answer.Close()
			return a.writeArchive(output, answer)
		}),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to a file, instead of STDOUT")
	cmd.Flags().StringSliceVar(&wanted, "platform", nil, `Save only the given platform(s). Formatted as a comma-separated list of "os[/arch[/variant]]" (e.g., "linux/amd64,linux/arm64/v8")`)
	return cmd
}

// writeWhole writes a file that is there whole or not at all.
func writeWhole(path string, from io.Reader) error {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		if st.IsDir() {
			return fmt.Errorf("invalid output path: %q is a directory", path)
		}
		return writeInto(path, from) // a pipe or a device stays what it is
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("invalid output path: %w", err)
	}
	_, err = io.Copy(f, from)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func writeInto(path string, from io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// importFlags are those of import.
type importFlags struct {
	changes           []string
	message, platform string
}

func (a *app) imageImportCommand() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
		Short: "Import the contents from a tarball to create a filesystem image",
		Args:  cobra.RangeArgs(1, 2),
		RunE: a.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			q, err := f.query(optional(args, 1))
			if err != nil {
				return err
			}
			var body io.Reader
			switch source := args[0]; {
			case strings.HasPrefix(source, "http://"), strings.HasPrefix(source, "https://"):
				q.Set("fromSrc", source)
			default:
				archive, err := a.openInput(source)
				if err != nil {
					return err
				}
				defer archive.Close()
				body = archive
				q.Set("fromSrc", "-")
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			answer, err := c.Open(ctx, http.MethodPost, "/images/create?"+q.Encode(), body)
			if err != nil {
				return err
			}
			defer answer.Close()
			return messages(answer, func(m jsonstream.Message) {
				if m.Status != "" {
					fmt.Fprintln(a.out, m.Status)
				}
			})
		}),
	}
	cmd.Flags().StringArrayVarP(&f.changes, "change", "c", nil, "Apply Dockerfile instruction to the created image")
	cmd.Flags().StringVarP(&f.message, "message", "m", "", "Set commit message for imported image")
	cmd.Flags().StringVar(&f.platform, "platform", "", "Set platform if server is multi-platform capable")
	return cmd
}

func (f *importFlags) query(name string) (url.Values, error) {
	q, err := imageQuery(name)
	if err != nil {
		return nil, err
	}
	if f.platform != "" {
		if _, err := platforms.Parse(f.platform); err != nil {
			return nil, fmt.Errorf("invalid platform %q: %w", f.platform, err)
		}
		q.Set("platform", f.platform)
	}
	q.Set("message", f.message)
	q["changes"] = f.changes
	return q, nil
}
