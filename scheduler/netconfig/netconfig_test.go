package netconfig

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tutti/netdriver"
)

func TestStore(t *testing.T) {
	t.Parallel()
	s := Store{Dir: filepath.Join(t.TempDir(), "configs")}
	if all, err := s.All(); len(all) != 0 || err != nil {
		t.Errorf("an empty store has %v, %v", all, err)
	}
	pool := netdriver.Pool{Subnet: netip.MustParsePrefix("10.1.0.0/24")}
	for id, name := range map[string]string{"0b": "a", "0a": "b"} {
		if err := s.Put(netdriver.NetworkSpec{ID: id, Name: name, Pools: []netdriver.Pool{pool}, Labels: map[string]string{"x": "y"}}); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := s.All(); err != nil || len(all) != 2 || all[0].Name != "a" || all[1].ID != "0a" {
		t.Errorf("the store has %v, %v", all, err)
	}
	if c, ok, err := s.Get("b"); !ok || err != nil || c.Pools[0].Subnet != pool.Subnet || c.Labels["x"] != "y" {
		t.Errorf("b is %+v, %t, %v", c, ok, err)
	}
	for range 2 {
		if err := s.Remove("0a"); err != nil {
			t.Error(err)
		}
	}
	if _, ok, err := s.Get("b"); ok || err != nil {
		t.Errorf("b is still there: %v", err)
	}
	for _, damaged := range []string{"{", `{"ID":"0c","Name":"c"}`} {
		file := filepath.Join(s.Dir, "0d.json")
		if err := os.WriteFile(file, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := s.All(); err == nil || !strings.Contains(err.Error(), file) || len(all) != 1 {
			t.Errorf("%s: %v, %v", damaged, all, err)
		}
		if _, ok, err := s.Get("a"); !ok || err != nil {
			t.Errorf("beside a damaged file: a is there: %t, %v", ok, err)
		}
	}
}

func TestDerive(t *testing.T) {
	t.Parallel()
	type spec = netdriver.NetworkSpec
	config := spec{ID: "0c", Name: "c", EnableIPv6: true, Options: map[string]string{"parent": "eth0"}, Labels: map[string]string{"a": "b"}, IPAMOptions: map[string]string{"o": "p"}}
	made, err := Derive(spec{ID: "0a", Name: "n", Driver: "macvlan", Internal: true, Attachable: true, IPAM: "default"}, config)
	if err != nil || made.ID != "0a" || made.Name != "n" || made.Driver != "macvlan" || !made.Internal || !made.Attachable || !made.EnableIPv6 ||
		made.Options["parent"] != "eth0" || made.Labels["a"] != "b" || made.IPAMOptions["o"] != "p" {
		t.Errorf("%+v, %v", made, err)
	}
	for want, request := range map[string]spec{
		"driver options": {Options: map[string]string{"a": "b"}}, "user-specified": {EnableIPv6: true}, "user-specified ": {NoIPv4: true},
		"user-specified c": {Labels: map[string]string{"a": "b"}}, "user-specified co": {IPAM: "null"}, "user-specified con": {IPAMOptions: map[string]string{"a": "b"}},
		"user-specified conf": {Pools: []netdriver.Pool{{}}},
	} {
		if _, err := Derive(request, config); !errors.Is(err, ErrDepends) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", request, err)
		}
	}
}
