package samples

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/*.config.* anew with the docker compose that is installed")

// `tutti config` must print what `docker compose config` prints. testdata holds the output of docker compose 5.6.0,
// with the path of this folder replaced; -update asks the installed one.
func TestConfigAgreesWithDockerCompose(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		golden  string
		args    []string
		environ []string
	}{
		{"mean.config.yaml", []string{"-f", "mean/compose.yaml", "config"}, nil},
		{"mean.config.json", []string{"-f", "mean/compose.yaml", "config", "--format", "json"}, nil},
		{
			"mean-other.config.yaml",
			[]string{"-p", "other", "-f", "mean/compose.yaml", "config"},
			[]string{"PORT=1234", "GOPROXY=https://proxy.example", "CA_FILE=/tmp/ca.pem"},
		},
		{"isolated-networks.config.yaml", []string{"-f", "isolated-networks/compose.yaml", "config"}, nil},
		{"isolated-networks.config.json", []string{"-f", "isolated-networks/compose.yaml", "config", "--format", "json"}, nil},
	} {
		t.Run(c.golden, func(t *testing.T) {
			command := []string{binary(t)}
			if *update {
				command = []string{"docker", "compose"}
			}
			cmd := exec.Command(command[0], append(command[1:], c.args...)...)
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "DOCKER_CONFIG=" + os.Getenv("DOCKER_CONFIG")}, c.environ...)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %v", cmd.Args, err)
			}
			got := strings.ReplaceAll(string(out), here, "<samples>")
			golden := filepath.Join("testdata", c.golden)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("differs from docker compose (-) here (+):\n%s", difference(string(want), got))
			}
		})
	}
}

// The listings of config, one name a line; docker compose prints them in no particular order.
func TestConfigLists(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{
		"--services": "angular express mongo",
		"--images":   "mean-angular mean-express mean-mongo",
		"--volumes":  "mongo-data",
		"--networks": "back-end front-end",
		"--quiet":    "",
	} {
		out, err := exec.Command(binary(t), "-f", "mean/compose.yaml", "config", flag).Output()
		if err != nil {
			t.Fatalf("config %s: %v", flag, err)
		}
		got := strings.Fields(string(out))
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("config %s: %q, want %q", flag, got, want)
		}
	}
}
