package main

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"

	"tutti/scheduler/api"
)

const someID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// demo are the containers of a small project.
func demo() []api.Container {
	base := api.Container{
		ID: someID, Project: "demo", Image: "nginx:1", ImageID: "sha256:" + someID, Number: 1,
		Created: time.Now().Add(-2 * time.Minute), Labels: map[string]string{"b": "2", "a": "1"},
	}
	web, web2, job, orphan := base, base, base, base
	web.Name, web.Service, web.State, web.Status, web.Health = "demo-web-1", "web", "running", "Up 2 minutes (healthy)", "healthy"
	web.Command = []string{"/docker-entrypoint.sh", "nginx", "-g", "daemon off;"}
	web.Publishers = []api.Publisher{{URL: "0.0.0.0", TargetPort: 4200, PublishedPort: 5000, Protocol: "tcp"}, {TargetPort: 9000, Protocol: "tcp"}}
	web.Networks = map[string]string{"demo_b": "10.0.0.2", "demo_a": "10.0.0.3"}
	web.Mounts = []string{"demo_data", "/a/very/long/path/on/the/host"}
	web2.Name, web2.Service, web2.Number, web2.State, web2.Status = "demo-web-2", "web", 2, "paused", "Up 2 minutes (Paused)"
	job.Name, job.Service, job.State, job.Status, job.ExitCode = "demo-job-1", "job", "exited", "Exited (3) 1 minute ago", 3
	orphan.Name, orphan.Service, orphan.State, orphan.Status, orphan.Orphan = "demo-old-1", "old", "running", "Up 2 minutes", true
	return []api.Container{web2, web, job, orphan}
}

func demoCLI(t *testing.T) *cli {
	t.Helper()
	return newCLI(t).compose("services: {web: {image: nginx:1}, job: {image: nginx:1}}\n").
		answer(api.Prefix+"/projects/demo/containers", demo())
}

func TestPs(t *testing.T) {
	t.Parallel()
	c := demoCLI(t)
	c.run("ps").expect(t, 0, `NAME         IMAGE     COMMAND                  SERVICE   CREATED         STATUS                   PORTS
demo-old-1   nginx:1   ""                       old       2 minutes ago   Up 2 minutes             
demo-web-1   nginx:1   "/docker-entrypoint.…"   web       2 minutes ago   Up 2 minutes (healthy)   9000/tcp, 0.0.0.0:5000->4200/tcp
demo-web-2   nginx:1   ""                       web       2 minutes ago   Up 2 minutes (Paused)    
`, "")
	const names = "{{.Name}}"
	for _, q := range []struct {
		args []string
		want string
	}{
		{[]string{"-a", "--format", names}, "demo-job-1\ndemo-old-1\ndemo-web-1\ndemo-web-2\n"},
		{[]string{"--orphans=false", "--format", names}, "demo-web-1\ndemo-web-2\n"},
		{[]string{"--status", "exited", "--format", names}, "demo-job-1\n"},
		{[]string{"--filter", "status=paused", "--format", names}, "demo-web-2\n"},
		{[]string{"--format", names, "job"}, ""},
		{[]string{"--format", `{{.Label "a"}} {{.ExitCode}}`, "-a", "job"}, "1 3\n"},
		{[]string{"--format", "table {{.Name}}\\t{{.State}}", "web"}, "NAME         STATE\ndemo-web-1   running\ndemo-web-2   paused\n"},
		{[]string{"--services"}, "old\nweb\n"},
		{[]string{"-q", "web"}, someID + "\n" + someID + "\n"},
		{[]string{"--no-trunc", "--format", "{{.Command}}", "web"}, `"/docker-entrypoint.sh nginx -g 'daemon off;'"` + "\n\"\"\n"},
	} {
		c.run(append([]string{"ps"}, q.args...)...).expect(t, 0, q.want, "")
	}
	// Without the file the name is enough.
	c.dir = t.TempDir()
	c.run("-p", "demo", "ps", "--services").expect(t, 0, "old\nweb\n", "")
	c.environ = []string{"COMPOSE_PROJECT_NAME=demo"}
	c.run("ps", "--services").expect(t, 0, "old\nweb\n", "")
}

// keys are the names of an object's fields in their order.
func keys(t *testing.T, object string) []string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(object))
	var names []string
	depth := 0
	for {
		tok, err := d.Token()
		if err != nil {
			return names
		}
		switch v := tok.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				depth++
			} else {
				depth--
			}
		case string:
			if depth == 1 {
				names = append(names, v)
				var skip json.RawMessage
				if err := d.Decode(&skip); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// The fields are those that docker compose 5 prints, in its order, but for "Engine" which has no meaning here.
func TestPsJSON(t *testing.T) {
	t.Parallel()
	r := demoCLI(t).run("ps", "--format", "json", "web")
	lines := strings.Split(strings.TrimSpace(r.out.String()), "\n")
	if r.code != 0 || len(lines) != 2 {
		t.Fatalf("exit code %d, one object a container expected:\n%s%s", r.code, r.out.String(), r.err.String())
	}
	want := strings.Fields("Command CreatedAt ExitCode Health ID Image Labels LocalVolumes Mounts Name Names Networks Ports Project Publishers RunningFor Service Size State Status")
	if got := keys(t, lines[0]); !slices.Equal(got, want) {
		t.Errorf("fields are %v, want %v", got, want)
	}
	var c struct {
		ID, Name, Service, State, Health, Labels, Networks, Mounts, LocalVolumes, Command string
		ExitCode                                                                          int
		Publishers                                                                        []api.Publisher
	}
	if err := json.Unmarshal([]byte(lines[0]), &c); err != nil {
		t.Fatal(err)
	}
	if c.ID != someID[:12] || c.Name != "demo-web-1" || c.Health != "healthy" || c.Labels != "a=1,b=2" || c.Networks != "demo_a,demo_b" ||
		c.Mounts != "demo_data,/a/very/long/p…" && c.Mounts != "demo_data,/a/very/long/…" || c.LocalVolumes != "1" || len(c.Publishers) != 2 || c.Publishers[0].PublishedPort != 5000 {
		t.Errorf("got %+v", c)
	}
}

func TestLs(t *testing.T) {
	t.Parallel()
	c := newCLI(t).answer(api.Prefix+"/projects", []api.Project{
		{Name: "web", Status: "running(2), exited(1)", ConfigFiles: []string{"/a/compose.yaml", "/a/b.yaml"}},
		{Name: "old", Status: "exited(1)", ConfigFiles: []string{"/o/compose.yaml"}},
	})
	c.run("ls").expect(t, 0, "NAME                STATUS              CONFIG FILES\nweb                 running(2)          /a/compose.yaml,/a/b.yaml\n", "")
	c.run("ls", "-a", "-q").expect(t, 0, "old\nweb\n", "")
	c.run("ls", "-a", "--filter", "name=o.d", "-q").expect(t, 0, "old\n", "")
	c.run("ls", "--format", "json").expect(t, 0, `[{"Name":"web","Status":"running(2)","ConfigFiles":"/a/compose.yaml,/a/b.yaml"}]`+"\n", "")
	c.run("ls", "--filter", "name=none", "--format", "json").expect(t, 0, "[]\n", "")
}

func TestImages(t *testing.T) {
	t.Parallel()
	c := demoCLI(t)
	c.mux.HandleFunc("GET /images/{id}/json", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, image.InspectResponse{
			ID: r.PathValue("id"), Os: "linux", Architecture: "amd64", Size: 123_456_789,
			Created: time.Now().Add(-48 * time.Hour).Format(time.RFC3339Nano),
		})
	})
	c.run("images", "web").expect(t, 0, `CONTAINER           REPOSITORY          TAG                 PLATFORM            IMAGE ID            SIZE                CREATED
demo-web-1          nginx               1                   linux/amd64         0123456789ab        123MB               2 days ago
demo-web-2          nginx               1                   linux/amd64         0123456789ab        123MB               2 days ago
`, "")
	c.run("images", "-q").expect(t, 0, someID+"\n", "")
	r := c.run("images", "--format", "json")
	var list []map[string]any
	if err := json.Unmarshal([]byte(r.out.String()), &list); err != nil || len(list) != 4 || list[0]["ContainerName"] != "demo-job-1" ||
		list[0]["Repository"] != "nginx" || list[0]["Tag"] != "1" || list[0]["Platform"] != "linux/amd64" || list[0]["ID"] != "sha256:"+someID {
		t.Errorf("%v in %s", err, r.out.String())
	}
}

func TestObjectLists(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := newCLI(t)
	c.answer("/volumes", volume.ListResponse{Volumes: []volume.Volume{{Name: "z", Driver: "local"}, {Name: "a", Driver: "local", Scope: "local"}}})
	c.answer("/networks", []network.Summary{{Network: network.Network{ID: someID, Name: "demo_default", Driver: "bridge", Scope: "local"}}})
	c.answer("/images/json", []image.Summary{
		{ID: "sha256:" + someID, RepoTags: []string{"nginx:1", "docker.io/me/app:2"}, Created: now.Add(-time.Hour).Unix(), Size: 5_000_000},
		{ID: "sha256:ffff456789abcdef", Created: now.Add(-time.Hour).Unix(), Size: 1},
	})
	c.answer("/containers/json", []container.Summary{{
		ID: someID, Names: []string{"/demo-web-1"}, Image: "nginx:1", Command: "nginx", Created: now.Add(-time.Hour).Unix(),
		State: "running", Status: "Up 1 hour", Ports: []container.PortSummary{{IP: netip.MustParseAddr("127.0.0.1"), PrivatePort: 80, PublicPort: 8080, Type: "tcp"}},
	}})

	c.run("volume", "ls").expect(t, 0, "DRIVER    VOLUME NAME\nlocal     a\nlocal     z\n", "")
	c.run("volume", "ls", "-q").expect(t, 0, "a\nz\n", "")
	c.run("network", "ls").expect(t, 0, "NETWORK ID     NAME           DRIVER    SCOPE\n0123456789ab   demo_default   bridge    local\n", "")
	c.run("network", "ls", "-q").expect(t, 0, "0123456789ab\n", "")
	c.run("image", "ls").expect(t, 0, `REPOSITORY   TAG       IMAGE ID       CREATED             SIZE
me/app       2         0123456789ab   About an hour ago   5MB
nginx        1         0123456789ab   About an hour ago   5MB
`, "")
	c.run("image", "ls", "-aq").expect(t, 0, "0123456789ab\nffff456789ab\n", "")
	c.run("image", "ls", "-q").expect(t, 0, "0123456789ab\n", "")
	c.run("image", "ls", "--tree").expect(t, 0, "IMAGE                ID             DISK USAGE   IN USE\ndocker.io/me/app:2   0123456789ab   5MB\nnginx:1\n", "")
	c.run("image", "ls", "--tree", "-q").expect(t, 1, "", "--quiet is not yet supported with --tree\n")
	c.run("image", "ls", "-f", "dangling").expect(t, 1, "", "invalid argument \"dangling\" for \"--filter\" flag: give NAME=VALUE\n")
	c.run("container", "ls", "-a").expect(t, 0, `CONTAINER ID   IMAGE     COMMAND   CREATED             STATUS      PORTS                    NAMES
0123456789ab   nginx:1   "nginx"   About an hour ago   Up 1 hour   127.0.0.1:8080->80/tcp   demo-web-1
`, "")
	for kind, want := range map[string]string{
		"volume":    "Availability Driver Group Labels Links Mountpoint Name Scope Size Status",
		"network":   "CreatedAt Driver ID IPv4 IPv6 Internal Labels Name Scope",
		"image":     "Containers CreatedAt CreatedSince Digest ID Repository SharedSize Size Tag UniqueSize",
		"container": "Command CreatedAt ID Image Labels LocalVolumes Mounts Names Networks Ports RunningFor Size State Status",
	} {
		r := c.run(kind, "ls", "--format", "json")
		first, _, _ := strings.Cut(r.out.String(), "\n")
		if got := keys(t, first); r.code != 0 || !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: exit code %d, fields %v, want %s\n%s", kind, r.code, got, want, r.err.String())
		}
	}
}

func TestImageVerbs(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.in = "an archive"
	c.mux.HandleFunc("POST /images/load", func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 100)
		n, _ := r.Body.Read(b)
		writeJSON(w, map[string]string{"stream": "Loaded image: " + string(b[:n]) + "\n"})
	})
	c.mux.HandleFunc("DELETE /images/{name...}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("name") == "none" {
			w.WriteHeader(http.StatusNotFound)
			writeJSON(w, map[string]string{"message": "No such image: none"})
			return
		}
		writeJSON(w, []image.DeleteResponse{{Untagged: r.PathValue("name")}, {Deleted: "sha256:1"}})
	})
	c.mux.HandleFunc("POST /images/create", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, map[string]any{"status": "Pulling fs layer", "id": "abc"})
		if r.URL.Query().Get("fromImage") == "secret:latest" {
			writeJSON(w, map[string]any{"errorDetail": map[string]string{"message": "denied"}})
			return
		}
		writeJSON(w, map[string]any{"status": "Pull complete", "id": "abc"})
	})
	c.run("image", "load").expect(t, 0, "Loaded image: an archive\n", "")
	c.run("image", "load", "-i", "/nonexistent.tar").expect(t, 1, "", "open /nonexistent.tar: no such file or directory\n")
	c.run("image", "rm", "me/app:1", "none").expect(t, 1, "Untagged: me/app:1\nDeleted: sha256:1\n", "No such image: none\n")
	c.run("image", "pull", "nginx").expect(t, 0, "docker.io/library/nginx:latest\n", " Image nginx:latest  Pulling\n abc  Pulling fs layer\n abc  Pull complete\n Image nginx:latest  Pulled\n")
	c.run("image", "pull", "-q", "secret").expect(t, 1, "", "denied\n")
	c.answer("/images/{name}/json", map[string]string{"Id": "sha256:1"})
	c.run("image", "inspect", "me/app:1").expect(t, 0, "[\n    {\n        \"Id\": \"sha256:1\"\n    }\n]\n", "")
}
