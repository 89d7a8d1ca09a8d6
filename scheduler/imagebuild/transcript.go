package imagebuild

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// steps have names such as "[web 2/3] RUN true".
var stepName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\[(?:(\S+) )?(\d+)/(\d+)\] (.*)$`) })

// Transcript tells a build's progress in the words of docker's old builder, which clients look for.
type Transcript struct {
	emit  func(text string)
	begun map[digest.Digest]bool
	names map[digest.Digest]string
}

// NewTranscript returns one that hands its lines to emit.
func NewTranscript(emit func(text string)) *Transcript {
	return &Transcript{emit: emit, begun: map[digest.Digest]bool{}, names: map[digest.Digest]string{}}
}

// Add tells what is new in s.
func (t *Transcript) Add(s *client.SolveStatus) {
	for _, v := range s.Vertexes {
		t.names[v.Digest] = v.Name
		if v.Started != nil || v.Cached {
			t.begin(v.Digest)
		}
		if v.Cached && v.Completed != nil && stepName().MatchString(v.Name) {
			t.emit(" ---> Using cache\n")
		}
	}
	for _, l := range s.Logs {
		t.begin(l.Vertex)
		t.emit(string(l.Data))
	}
}

func (t *Transcript) begin(d digest.Digest) {
	m := stepName().FindStringSubmatch(t.names[d])
	if t.begun[d] || m == nil {
		return
	}
	t.begun[d] = true
	stage := ""
	if m[1] != "" {
		stage = m[1] + " "
	}
	t.emit(fmt.Sprintf("Step %s%s/%s : %s\n", stage, m[2], m[3], m[4]))
}

// End tells the result in the lines by which SDKs find the image.
func (t *Transcript) End(id string, tags []string) {
	short := strings.TrimPrefix(id, "sha256:")
	if len(short) > 12 {
		short = short[:12]
	}
	t.emit("Successfully built " + short + "\n")
	for _, tag := range tags {
		t.emit("Successfully tagged " + tag + "\n")
	}
}
