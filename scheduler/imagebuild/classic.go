package imagebuild

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"tutti/runtime/build"
)

// Classic reads the parameters of the Docker Engine API's POST /build
// (https://docs.docker.com/reference/api/engine/, operation ImageBuild), as clients with DOCKER_BUILDKIT=0 and SDKs send
// them. body is the context, unless the parameter remote names one.
func Classic(v url.Values, body io.Reader) (build.Request, error) {
	q := params{v: v}
	r := q.request(body)
	q.checkContext(r.Context)
	q.refuse()
	if version := v.Get("version"); version != "" && version != versionClassic {
		q.fail(fmt.Errorf("invalid version %q", version))
	}
	if o := v.Get("outputs"); o != "" && o != "[]" && o != "null" {
		q.fail(errors.New("outputs are not supported by the classic builder: use BuildKit, or tutti image build --output"))
	}
	return r, q.err
}

// request reads what both builders have.
func (q *params) request(body io.Reader) build.Request {
	v := q.v
	r := build.Request{
		Context: "-", Stdin: body, Dockerfile: v.Get("dockerfile"), Target: v.Get("target"), NoCache: q.flag("nocache"), Pull: q.flag("pull"),
		ShmSize: q.number("shmsize"), ExtraHosts: map[string][]string{}, Tags: nonEmpty(v["t"]), Args: map[string]string{},
		Limits: build.Limits{
			Memory: q.number("memory"), MemorySwap: q.number("memswap"), CPUShares: q.number("cpushares"),
			CPUPeriod: q.number("cpuperiod"), CPUQuota: q.number("cpuquota"), CPUs: v.Get("cpusetcpus"), Mems: v.Get("cpusetmems"),
		},
	}
	if remote := v.Get("remote"); remote != "" {
		r.Context, r.Stdin = remote, nil
	}
	var args map[string]*string
	q.json("buildargs", &args)
	r.Args = arguments(args)
	q.json("labels", &r.Labels)
	q.json("cachefrom", &r.CacheFrom)
	var ulimits []units.Ulimit
	q.json("ulimits", &ulimits)
	for _, u := range ulimits {
		r.Ulimits = append(r.Ulimits, build.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	for _, host := range nonEmpty(v["extrahosts"]) {
		name, address, ok := strings.Cut(host, ":")
		if !ok {
			q.fail(fmt.Errorf("extrahosts: %q is not NAME:ADDRESS", host))
		}
		r.ExtraHosts[name] = append(r.ExtraHosts[name], address)
	}
	if p := v.Get("platform"); p != "" {
		r.Platforms = []string{p}
	}
	if r.Network = v.Get("networkmode"); r.Network == "bridge" {
		r.Network = "default"
	}
	return r
}

// checkContext refuses a context that is neither the body nor fetched: the folders of this host are not the client's.
func (q *params) checkContext(context string) {
	if context != "-" && !build.IsRemote(context) {
		q.fail(fmt.Errorf("remote %q is no URL: give that of a git repository or an archive, or send the context as the request's body", context))
	}
}

// params are query parameters; the first that cannot be read is the error.
type params struct {
	v   url.Values
	err error
}

func (q *params) fail(err error) {
	if q.err == nil {
		q.err = err
	}
}

func (q *params) flag(name string) bool {
	v := q.v.Get(name)
	b, err := strconv.ParseBool(v)
	return v != "" && (err != nil || b)
}

func (q *params) number(name string) int64 {
	v := q.v.Get(name)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		q.fail(fmt.Errorf("%s: %q is no number", name, v))
	}
	return n
}

func (q *params) json(name string, to any) {
	v := q.v.Get(name)
	if v == "" {
		return
	}
	if err := json.Unmarshal([]byte(v), to); err != nil {
		q.fail(fmt.Errorf("%s: it is not the JSON that is expected: %w", name, err))
	}
}

// refuse names what would be ignored otherwise.
func (q *params) refuse() {
	if q.flag("squash") {
		q.fail(errors.New("squash is not supported"))
	}
	if len(nonEmpty(q.v["securityopt"])) > 0 {
		q.fail(errors.New("securityopt is not supported for builds"))
	}
	if q.v.Get("cgroupparent") != "" {
		q.fail(errors.New("cgroupparent is not supported for builds"))
	}
	if i := q.v.Get("isolation"); i != "" && i != "default" {
		q.fail(fmt.Errorf("isolation %q: there is only default on Linux", i))
	}
}

func nonEmpty(list []string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}
