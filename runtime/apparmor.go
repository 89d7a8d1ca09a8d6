package runtime

import (
	"fmt"
	"os/exec"
	"sync"

	"github.com/moby/profiles/apparmor"
)

// Unconfined is the name of no profile, of AppArmor's and of seccomp's.
const Unconfined = "unconfined"

// AppArmorDefault is docker's default profile under a name of our own.
const AppArmorDefault = "tutti-default"

// AppArmorLoads tells whether the host has the program that loads profiles.
var AppArmorLoads = sync.OnceValue(func() bool {
	_, err := exec.LookPath("apparmor_parser")
	return err == nil
})

// loading lets one container at a time load the default profile.
var loading sync.Mutex

// CheckAppArmor makes sure that the kernel has a profile. The default one is loaded if need be, at every start anew:
// an upgrade of AppArmor's package may unload what it does not know.
func CheckAppArmor(profile string) error {
	if profile == Unconfined {
		return nil
	}
	loading.Lock()
	defer loading.Unlock()
	loaded, err := apparmor.IsLoaded(profile)
	if err != nil {
		return fmt.Errorf("list AppArmor's profiles: %w", err)
	}
	if loaded {
		return nil
	}
	if profile != AppArmorDefault {
		return fmt.Errorf("the AppArmor profile %s is not loaded: load it with apparmor_parser", profile)
	}
	if err := apparmor.InstallDefault(profile); err != nil {
		return fmt.Errorf("AppArmor is enabled on the host, but the profile %s could not be loaded: %w", profile, err)
	}
	return nil
}
