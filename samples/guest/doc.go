// Package guest tests what this machine may not have: systemd, cgroup v2, a reboot, a power cut. Its tests start QEMU
// without KVM (guest.sh makes the machine) and run the tests of other packages and the built binary in there.
package guest
