// Package validation pins the validation suite of the OCI runtime specification and
// what it depends on; the test of package oci builds its programs from here.
package validation

import _ "github.com/opencontainers/runtime-tools/validation/util"
