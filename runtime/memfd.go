package runtime

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tutti/runtime/initbin"
)

// highFD is where descriptors live that must not be among those which a new
// process gets as 0, 1, 2 ...
const highFD = 64

// sealInit puts the init program into a memfd that nobody can write any more: a
// container that reaches it through /proc/*/exe can change neither it nor any
// file of the host (CVE-2019-5736).
func sealInit() (*os.File, error) {
	program, err := initbin.Program()
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("tutti-init", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL { // MFD_EXEC came with Linux 6.3
		fd, err = unix.MemfdCreate("tutti-init", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("create memfd for init: %w", err)
	}
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, highFD)
	_ = unix.Close(fd)
	if err != nil {
		return nil, fmt.Errorf("create memfd for init: %w", err)
	}
	f := os.NewFile(uintptr(high), "tutti-init")
	if _, err := f.Write(program); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("fill memfd for init: %w", err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	// Nor may anybody take away that it can be executed.
	_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals|unix.F_SEAL_EXEC)
	if err == unix.EINVAL { // F_SEAL_EXEC came with Linux 6.3
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("seal memfd of init: %w", err)
	}
	return f, nil
}
