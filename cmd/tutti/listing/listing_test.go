package listing

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

type row struct {
	Name   string
	Labels string
	labels map[string]string
}

func (r row) Label(name string) string { return r.labels[name] }

var (
	rows = []row{{"web", "a=1,b=2", map[string]string{"org.x.my-label": "1"}}, {"日本", "", nil}}
	head = Headers{"Name": "NAME", "Labels": "LABELS"}
)

func TestTemplated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ format, want string }{
		{"", "NAME      LABELS\nweb       a=1,b=2\n日本      \n"},
		{"table", "NAME      LABELS\nweb       a=1,b=2\n日本      \n"},
		{"table {{.Name}}", "NAME\nweb\n日本\n"},
		{`table {{.Name | upper}}\t{{.Label "org.x.my-label"}}`, "NAME      my label\nWEB       1\n日本      \n"},
		{"json", `{"Name":"web","Labels":"a=1,b=2"}` + "\n" + `{"Name":"日本","Labels":""}` + "\n"},
		{"{{json .Name}}", "\"web\"\n\"日本\"\n"},
		{`{{.Name}}\t-`, "web\t-\n日本\t-\n"},
		{"constant", "constant\nconstant\n"},
	} {
		var out bytes.Buffer
		if err := Templated(&out, c.format, `{{.Name}}\t{{.Labels}}`, head, rows); err != nil {
			t.Errorf("%q: %v", c.format, err)
		}
		if out.String() != c.want {
			t.Errorf("%q: got\n%q, want\n%q", c.format, out.String(), c.want)
		}
	}
	for _, format := range []string{"{{.Nope}}", "{{", "table {{.Name"} {
		if err := Templated(&bytes.Buffer{}, format, "", head, rows); err == nil || !strings.HasPrefix(err.Error(), "template parsing error") {
			t.Errorf("%q: error %v", format, err)
		}
	}
}

func TestPretty(t *testing.T) {
	t.Parallel()
	cells := func(r row) []string { return []string{r.Name, r.Labels} }
	for _, c := range []struct {
		format string
		rows   []row
		want   string
	}{
		{"table", rows[:1], "NAME                LABELS\nweb                 a=1,b=2\n"},
		{"json", rows[:1], `[{"Name":"web","Labels":"a=1,b=2"}]` + "\n"},
		{"json", nil, "[]\n"},
	} {
		var out bytes.Buffer
		if err := Pretty(&out, c.format, []string{"NAME", "LABELS"}, c.rows, cells, ""); err != nil || out.String() != c.want {
			t.Errorf("%q: %v, got %q, want %q", c.format, err, out.String(), c.want)
		}
	}
	if err := Pretty(&bytes.Buffer{}, "xml", nil, rows, cells, ""); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Errorf("xml: %v", err)
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ports []Port
		want  string
	}{
		{nil, ""},
		{[]Port{{"", 0, 80, "tcp"}}, "80/tcp"},
		{[]Port{{"0.0.0.0", 5000, 4200, "tcp"}, {"::", 5000, 4200, "tcp"}}, "0.0.0.0:5000->4200/tcp, [::]:5000->4200/tcp"},
		{[]Port{{"0.0.0.0", 81, 81, "tcp"}, {"0.0.0.0", 80, 80, "tcp"}}, "0.0.0.0:80-81->80-81/tcp"},
		{[]Port{{"", 0, 80, "tcp"}, {"", 0, 81, "tcp"}, {"", 0, 81, "udp"}}, "80-81/tcp, 81/udp"},
		{[]Port{{"", 0, 80, "tcp"}, {"127.0.0.1", 8080, 80, "tcp"}, {"127.0.0.1", 443, 443, "tcp"}}, "80/tcp, 127.0.0.1:443->443/tcp, 127.0.0.1:8080->80/tcp"},
	} {
		if got := Ports(c.ports); got != c.want {
			t.Errorf("Ports(%v) = %q, want %q", c.ports, got, c.want)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	for _, c := range []struct{ got, want string }{
		{ShortID("sha256:0123456789abcdef"), "0123456789ab"},
		{ShortID("0123456789abcdef"), "0123456789ab"},
		{ShortID("abc"), "abc"},
		{Ellipsis("docker-entrypoint.sh nginx", 20), "docker-entrypoint.s…"},
		{Ellipsis("short", 20), "short"},
		{Ago(now.Add(-5*time.Minute), now), "5 minutes ago"},
		{Ago(time.Time{}, now), "N/A"},
		{Size(123_456_789), "123MB"},
		{Labels(map[string]string{"b": "2", "a": "1"}), "a=1,b=2"},
		{Labels(nil), ""},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
