package bootunit

import (
	"strings"
	"testing"
)

// The unit names the engine's own program and state folder, whatever characters they have.
func TestText(t *testing.T) {
	t.Parallel()
	u := Unit{Name: "tutti", Program: "/usr/local/bin/tutti", Root: "/var/lib/tutti", Default: true}
	for _, want := range []string{
		"\nExecStart=/usr/local/bin/tutti system boot\n", "\nExecStop=/usr/local/bin/tutti system halt\n",
		"\nRequiresMountsFor=/var/lib/tutti\n", "\nType=oneshot\n", "\nRemainAfterExit=yes\n", "\nWantedBy=multi-user.target\n", " tutti.scope",
	} {
		if !strings.Contains(u.Text(), want) {
			t.Errorf("no %q in\n%s", want, u.Text())
		}
	}
	u = Unit{Name: "tutti-ab12", Program: "/opt/50% off/$tutti", Root: "/srv/a \"b\"\nc"}
	want := `ExecStart="/opt/50%% off/$$tutti" --root "/srv/a \"b\"\nc" system boot` + "\n"
	if !strings.Contains(u.Text(), "\n"+want) {
		t.Errorf("no %q in\n%s", want, u.Text())
	}
	if u.File() != "/etc/systemd/system/tutti-ab12.service" {
		t.Error(u.File())
	}
}
