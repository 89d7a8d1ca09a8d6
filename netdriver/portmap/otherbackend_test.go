package portmap

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// Who has the legacy iptables may have them for want of nftables in the kernel: the others cannot be asked then, and have no
// rules.
func TestOtherBackendThatCannotBeAsked(t *testing.T) {
	dir := t.TempDir()
	for name, script := range map[string]string{
		"iptables": "echo 'iptables v1.8.9 (legacy)'", "ip6tables": "echo 'ip6tables v1.8.9 (legacy)'",
		"iptables-save": "", "iptables-restore": "", "ip6tables-save": "", "ip6tables-restore": "",
		"iptables-nft": "exit 1", "ip6tables-nft": "exit 1",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	f := NewFirewall(newHost(t), "0123", slog.Default())
	if !f.Available() {
		t.Fatal("the firewall is not found")
	}
	if said, err := f.OtherBackend(t.Context()); err != nil || said != "" {
		t.Errorf("%q, %v", said, err)
	}
}
