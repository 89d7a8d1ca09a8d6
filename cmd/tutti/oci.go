package main

import (
	"github.com/spf13/cobra"
)

// ociCommand shows in the help what main hands to package oci before anything else is looked at.
func ociCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "oci",
		Short:              "Run OCI bundles, as runc does, without an engine",
		DisableFlagParsing: true,
		Annotations:        heeds(readsOnly),
		RunE:               func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
}
