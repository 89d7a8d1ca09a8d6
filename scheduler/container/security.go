package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"tutti/project"
	"tutti/runtime"
)

// maxProfile bounds a seccomp profile's file; docker's own has 15 kB.
const maxProfile = 1 << 20

// security reads the keys that widen or narrow the default confinement.
func security(p *project.Project, s types.ServiceConfig) (Security, error) {
	sec := Security{Privileged: s.Privileged, ReadOnly: s.ReadOnly, CapAdd: s.CapAdd, CapDrop: s.CapDrop, DeviceRules: s.DeviceCgroupRules}
	for i, o := range s.SecurityOpt {
		if err := sec.option(p.WorkingDir, o); err != nil {
			return sec, At(err, "security_opt", strconv.Itoa(i))
		}
	}
	return sec, nil
}

// option applies one entry of security_opt, docker's (docker run --security-opt): KEY=VALUE, KEY:VALUE or KEY alone.
// Relative paths begin at dir.
func (s *Security) option(dir, o string) (err error) {
	key, value, ok := strings.Cut(o, "=")
	if !ok {
		key, value, ok = strings.Cut(o, ":")
	}
	switch {
	case key == "no-new-privileges":
		s.NoNewPrivileges, err = switchOn(o, value, ok)
	case key == "writable-cgroups":
		s.WritableCgroups, err = switchOn(o, value, ok)
	case key == "seccomp" && value != "":
		s.Seccomp, err = seccompOption(dir, value)
	case key == "apparmor" && value != "":
		s.AppArmor = value
		if value != runtime.Unconfined && !runtime.AppArmorEnabled() {
			return fmt.Errorf("%s: this host has no AppArmor: remove the option, or use apparmor=unconfined", o)
		}
	case o == "systempaths=unconfined":
		s.Unmasked = true
	case key == "label" && ok, o == "disable":
		// No container has an SELinux label here; a label that was asked for is among the limitations that the user is told.
	default:
		return fmt.Errorf("invalid security option %q: use no-new-privileges, seccomp=, apparmor=, systempaths=unconfined or writable-cgroups", o)
	}
	return err
}

// switchOn reads the value of an option that may stand alone.
func switchOn(option, value string, hasValue bool) (bool, error) {
	if !hasValue {
		return true, nil
	}
	on, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("invalid security option %q: use true or false", option)
	}
	return on, nil
}

// seccompOption is what Security.Seccomp holds for an option's value: the profile itself, so that the container stays as it
// was made when the file changes.
func seccompOption(dir, value string) (string, error) {
	switch value {
	case "builtin":
		return "", nil
	case runtime.Unconfined:
		return value, nil
	}
	path := value
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("opening seccomp profile (%s) failed: %w", value, err)
	case !st.Mode().IsRegular() || st.Size() > maxProfile:
		return "", fmt.Errorf("opening seccomp profile (%s) failed: it is no file of at most %d bytes", value, maxProfile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("opening seccomp profile (%s) failed: %w", value, err)
	}
	if len(b) == 0 {
		return "", errors.New("the seccomp profile " + value + " is empty")
	}
	return string(b), nil
}
