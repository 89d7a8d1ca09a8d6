package changes

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// config is a configuration with something in every field that changes touch.
func config() dockerspec.DockerOCIImageConfig {
	var c dockerspec.DockerOCIImageConfig
	c.Env = []string{"PATH=/bin", "A=1"}
	c.Cmd = []string{"old"}
	c.WorkingDir = "/srv"
	return c
}

// Every instruction that docker takes for a change does what it does in a Dockerfile.
func TestChangesEveryInstruction(t *testing.T) {
	t.Parallel()
	for change, want := range map[string]func(c *dockerspec.DockerOCIImageConfig){
		`CMD ["a", "b"]`:   func(c *dockerspec.DockerOCIImageConfig) { c.Cmd = []string{"a", "b"} },
		`CMD a b`:          func(c *dockerspec.DockerOCIImageConfig) { c.Cmd = []string{"/bin/sh", "-c", "a b"} },
		`ENTRYPOINT ["x"]`: func(c *dockerspec.DockerOCIImageConfig) { c.Entrypoint, c.Cmd = []string{"x"}, nil },
		"CMD y\nENTRYPOINT [\"x\"]": func(c *dockerspec.DockerOCIImageConfig) {
			c.Entrypoint, c.Cmd = []string{"x"}, []string{"/bin/sh", "-c", "y"}
		},
		`ENV A=2 B="c d"`: func(c *dockerspec.DockerOCIImageConfig) { c.Env = []string{"PATH=/bin", "A=2", "B=c d"} },
		`ENV P $PATH:/x`:  func(c *dockerspec.DockerOCIImageConfig) { c.Env = append(c.Env, "P=/bin:/x") },
		`EXPOSE 80 53/udp`: func(c *dockerspec.DockerOCIImageConfig) {
			c.ExposedPorts = map[string]struct{}{"80/tcp": {}, "53/udp": {}}
		},
		`LABEL a=b "c d"="e f"`: func(c *dockerspec.DockerOCIImageConfig) { c.Labels = map[string]string{"a": "b", "c d": "e f"} },
		`ONBUILD RUN make`:      func(c *dockerspec.DockerOCIImageConfig) { c.OnBuild = []string{"RUN make"} },
		`USER nobody:nogroup`:   func(c *dockerspec.DockerOCIImageConfig) { c.User = "nobody:nogroup" },
		`VOLUME ["/a", "/b"]`:   func(c *dockerspec.DockerOCIImageConfig) { c.Volumes = map[string]struct{}{"/a": {}, "/b": {}} },
		`WORKDIR sub`:           func(c *dockerspec.DockerOCIImageConfig) { c.WorkingDir = "/srv/sub" },
		`WORKDIR /`:             func(c *dockerspec.DockerOCIImageConfig) { c.WorkingDir = "/" },
		`HEALTHCHECK --interval=5s CMD ["t"]`: func(c *dockerspec.DockerOCIImageConfig) {
			c.Healthcheck = &dockerspec.HealthcheckConfig{Test: []string{"CMD", "t"}, Interval: 5 * time.Second}
		},
	} {
		got, wanted := config(), config()
		want(&wanted)
		if err := Apply(&got, strings.Split(change, "\n")); err != nil || !reflect.DeepEqual(got, wanted) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", change, got, err, wanted)
		}
	}
}

// What is not allowed, or nonsense, is refused by name.
func TestChangesRefuse(t *testing.T) {
	t.Parallel()
	for change, want := range map[string]string{
		"RUN rm -rf /":   "RUN is not a valid change command",
		"COPY a b":       "COPY is not a valid change command",
		"FROM scratch":   "FROM is not a valid change command",
		"STOPSIGNAL 9":   "STOPSIGNAL is not a valid change command",
		"EXPOSE nothing": "EXPOSE nothing",
		"ENV":            "ENV",
		"ONBUILD FROM x": "ONBUILD",
		"WHAT is this":   "WHAT is not a valid change command",
	} {
		c := config()
		if err := Apply(&c, []string{change}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", change, err, want)
		}
	}
}
