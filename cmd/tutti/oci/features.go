package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tutti/runtime/oci"
)

func (c *cli) featuresCommand() *cobra.Command {
	return &cobra.Command{
		Use: "features", Short: "Show what this runtime can do", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error { return printJSON(os.Stdout, oci.Features()) },
	}
}

func (c *cli) specCommand() *cobra.Command {
	var bundle string
	var rootless bool
	cmd := &cobra.Command{
		Use: "spec [OPTIONS]", Short: "Write a config.json to begin with", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			if rootless {
				return errors.New("spec --rootless is not supported: this runtime needs root")
			}
			return writeSpec(filepath.Join(bundle, "config.json"))
		},
	}
	cmd.Flags().StringVarP(&bundle, "bundle", "b", ".", "path of the bundle")
	cmd.Flags().BoolVar(&rootless, "rootless", false, "not supported")
	return cmd
}

func writeSpec(path string) error {
	b, err := json.MarshalIndent(oci.DefaultSpec(), "", "\t")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("file %s exists: remove it first", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Close())
}
