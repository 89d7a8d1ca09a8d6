package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// BuildRequest asks for POST /build: the images of a project's services.
type BuildRequest struct {
	Project    json.RawMessage    `json:"project"`
	Services   []string           `json:"services,omitempty"`
	NoCache    bool               `json:"noCache,omitempty"`
	Pull       bool               `json:"pull,omitempty"`
	Args       map[string]*string `json:"args,omitempty"` // build args of the command line, over those of the file
	SSH        []BuildSSH         `json:"ssh,omitempty"`  // beside those of the file
	Memory     int64              `json:"memory,omitempty"`
	Provenance string             `json:"provenance,omitempty"` // "", a boolean or attributes; over those of the file
	SBOM       string             `json:"sbom,omitempty"`
	Push       bool               `json:"push,omitempty"`  // services that have an `image`
	Check      bool               `json:"check,omitempty"` // lint only; the results come as KindCheck
	WithDeps   bool               `json:"withDeps,omitempty"`
	DryRun     bool               `json:"dryRun,omitempty"` // only say what would be built, as KindPlan
	Client     ClientContext      `json:"client"`
}

// ImageBuildRequest asks for POST /image-build: docker build. Paths are absolute. The body goes on behind the request
// with what the context "-" is made of.
type ImageBuildRequest struct {
	Context       string              `json:"context"` // folder, URL or "-"
	Dockerfile    string              `json:"dockerfile,omitempty"`
	Inline        string              `json:"inline,omitempty"` // text of a Dockerfile
	Contexts      map[string]string   `json:"contexts,omitempty"`
	Target        string              `json:"target,omitempty"`
	Args          map[string]string   `json:"args,omitempty"`
	Labels        map[string]string   `json:"labels,omitempty"`
	Annotations   map[string]string   `json:"annotations,omitempty"`
	Tags          []string            `json:"tags,omitempty"`
	Outputs       []BuildOutput       `json:"outputs,omitempty"`
	CacheFrom     []string            `json:"cacheFrom,omitempty"`
	CacheTo       []string            `json:"cacheTo,omitempty"`
	NoCache       bool                `json:"noCache,omitempty"`
	NoCacheFilter []string            `json:"noCacheFilter,omitempty"`
	Pull          bool                `json:"pull,omitempty"`
	Secrets       []BuildSecret       `json:"secrets,omitempty"`
	SSH           []BuildSSH          `json:"ssh,omitempty"`
	Network       string              `json:"network,omitempty"`
	ExtraHosts    map[string][]string `json:"extraHosts,omitempty"`
	ShmSize       int64               `json:"shmSize,omitempty"`
	Ulimits       []BuildUlimit       `json:"ulimits,omitempty"`
	Limits        BuildLimits         `json:"limits,omitzero"`
	Platforms     []string            `json:"platforms,omitempty"`
	Entitlements  []string            `json:"entitlements,omitempty"`
	Provenance    string              `json:"provenance,omitempty"`
	SBOM          string              `json:"sbom,omitempty"`
	Check         bool                `json:"check,omitempty"`
	Client        ClientContext       `json:"client"`
}

// BuildOutput is one --output. Stdout: the bytes come as KindOutput.
type BuildOutput struct {
	Type   string            `json:"type"`
	Dest   string            `json:"dest,omitempty"`
	Stdout bool              `json:"stdout,omitempty"`
	Attrs  map[string]string `json:"attrs,omitempty"`
}

// BuildSecret is a secret of a build: a file that the engine reads when a step wants it, or a value.
type BuildSecret struct {
	ID    string `json:"id"`
	File  string `json:"file,omitempty"`
	Value []byte `json:"value,omitempty"`
}

// BuildSSH is an agent's socket, or keys. Without paths it is the user's agent.
type BuildSSH struct {
	ID    string   `json:"id"`
	Paths []string `json:"paths,omitempty"`
}

// BuildUlimit is a resource limit of RUN steps.
type BuildUlimit struct {
	Name string `json:"name"`
	Soft int64  `json:"soft"`
	Hard int64  `json:"hard"`
}

// BuildLimits bound what each RUN step may use, as docker build's flags of these names; zero values bound nothing.
type BuildLimits struct {
	Memory     int64  `json:"memory,omitempty"`     // bytes
	MemorySwap int64  `json:"memorySwap,omitempty"` // bytes of both together, -1: without a limit
	CPUShares  int64  `json:"cpuShares,omitempty"`
	CPUPeriod  int64  `json:"cpuPeriod,omitempty"` // microseconds
	CPUQuota   int64  `json:"cpuQuota,omitempty"`  // microseconds
	CPUs       string `json:"cpus,omitempty"`
	Mems       string `json:"mems,omitempty"`
}

// BuildImage builds an image and hands every event to emit until the build has ended; the error is as of Stream. stdin
// is what the context "-" is made of, or nil.
func (c *Client) BuildImage(ctx context.Context, q ImageBuildRequest, stdin io.Reader, emit func(Event)) error {
	b, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("encode the build request: %w", err)
	}
	var body io.Reader = bytes.NewReader(b)
	if stdin != nil {
		body = io.MultiReader(body, stdin)
	}
	r, err := c.do(ctx, http.MethodPost, Prefix+"/image-build", body)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	return readEvents(ctx, "build", json.NewDecoder(bufio.NewReaderSize(r.Body, eventBuffer)), emit)
}
