package container

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestGateways(t *testing.T) {
	t.Parallel()
	leads := func(name string) Outlook {
		internal := strings.HasSuffix(name, "-internal")
		return Outlook{Internal: internal, Four: !internal && !strings.HasSuffix(name, "-v6"), Six: !internal && strings.Contains(name, "6")}
	}
	for _, tt := range []struct {
		networks  []Attachment
		four, six string
	}{
		{[]Attachment{{Network: "b"}, {Network: "a"}}, "a", ""},
		{[]Attachment{{Network: "b", GwPriority: 1}, {Network: "a"}}, "b", ""},
		{[]Attachment{{Network: "b", Priority: 100}, {Network: "a"}}, "a", ""},
		{[]Attachment{{Network: "a", GwPriority: -1}, {Network: "b"}}, "b", ""},
		{[]Attachment{{Network: "a-internal", GwPriority: 9}, {Network: "b"}}, "b", ""},
		{[]Attachment{{Network: "a-internal"}}, "", ""},
		{[]Attachment{{Network: "a"}, {Network: "b6"}}, "b6", "b6"},
		{[]Attachment{{Network: "a", GwPriority: 1}, {Network: "b6"}}, "a", "b6"},
		{[]Attachment{{Network: "c-v6"}, {Network: "a-v6"}, {Network: "b"}}, "b", "a-v6"},
		{[]Attachment{{Network: "z-v6", GwPriority: 5}, {Network: "b6"}}, "b6", "z-v6"},
		{nil, "", ""},
	} {
		if four, six := Gateways(tt.networks, leads); four != tt.four || six != tt.six {
			t.Errorf("%v: got %q and %q, want %q and %q", tt.networks, four, six, tt.four, tt.six)
		}
	}
}

func TestAttachmentEndpoint(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a    Attachment
		want string // "" for none
	}{
		{Attachment{IPv4: "10.0.0.9", IPv6: "fd00::9", MAC: "02:42:ac:11:65:43", LinkLocal: []string{"169.254.1.1", "fe80::1"}}, ""},
		{Attachment{IPv4: "10.0.0"}, `ipv4_address: "10.0.0"`},
		{Attachment{IPv6: "fe80::1%eth0"}, "ipv6_address"},
		{Attachment{LinkLocal: []string{"nowhere"}}, `link_local_ips: "nowhere"`},
		{Attachment{LinkLocal: []string{"10.0.0.1"}}, "no link-local address"},
		{Attachment{MAC: "02:42:ac"}, `mac_address: "02:42:ac"`},
		{Attachment{MAC: "01:42:ac:11:65:43"}, "mac_address"}, // of a group
		{Attachment{Interface: "a/b"}, "no name for an interface"},
		{Attachment{DriverOpts: map[string]string{"com.example": "1"}}, "com.example"},
	} {
		_, err := tt.a.Endpoint("web")
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.a, err, tt.want)
		}
	}
}

// What somebody has changed must come back from the disk, and a container on no network at all is not one that nobody has
// changed.
func TestNow(t *testing.T) {
	t.Parallel()
	c := Config{Networks: []Attachment{{Network: "a"}}, Links: []Link{{Service: "db", Alias: "db"}}}
	names := func(s State) string {
		b, err := json.Marshal(Record{Config: c, State: s})
		if err != nil {
			t.Fatal(err)
		}
		var r Record
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		now := r.Now(r.State)
		var all []string
		for _, a := range now.Networks {
			all = append(all, a.Network)
		}
		for _, l := range now.Links {
			all = append(all, l.Alias+"@"+l.Network)
		}
		return strings.Join(all, " ")
	}
	for _, tt := range []struct {
		networks []Attachment
		want     string
	}{
		{nil, "a db@"},
		{[]Attachment{}, "db@"},
		{[]Attachment{{Network: "a"}, {Network: "b", Links: []Link{{Container: "x", Alias: "y"}}}}, "a b db@ y@b"},
	} {
		if got := names(State{Networks: tt.networks}); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.networks, got, tt.want)
		}
	}
	if !slices.Equal(c.Links, []Link{{Service: "db", Alias: "db"}}) {
		t.Errorf("the configuration has changed: %v", c.Links)
	}
}
