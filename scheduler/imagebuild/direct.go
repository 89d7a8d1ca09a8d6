package imagebuild

import (
	"io"
	"maps"

	"tutti/runtime/build"
	"tutti/scheduler/api"
)

// Direct reads what `image build` asks for. stdin is what follows the request, stdout takes the outputs that go there.
func Direct(q api.ImageBuildRequest, u User, stdin io.Reader, stdout io.Writer) build.Request {
	r := build.Request{
		Context: q.Context, Stdin: stdin, Dockerfile: q.Dockerfile, DockerfileInline: q.Inline, AdditionalContexts: q.Contexts,
		Target: q.Target, Args: map[string]string{}, Labels: q.Labels, Annotations: q.Annotations, Tags: q.Tags,
		CacheFrom: localCaches(q.CacheFrom, q.Client.Dir), CacheTo: localCaches(q.CacheTo, q.Client.Dir),
		NoCache: q.NoCache, NoCacheFilter: q.NoCacheFilter, Pull: q.Pull,
		Network: q.Network, ExtraHosts: q.ExtraHosts, ShmSize: q.ShmSize, Limits: build.Limits(q.Limits), Platforms: q.Platforms,
		Entitlements: q.Entitlements, Provenance: q.Provenance, SBOM: q.SBOM, Auth: u.Auth,
	}
	r.Args = arguments(u.Proxy)
	maps.Copy(r.Args, q.Args)
	for _, o := range q.Outputs {
		out := build.Output{Type: o.Type, Dest: o.Dest, Attrs: o.Attrs}
		if o.Stdout {
			out.To = stdout
		}
		r.Outputs = append(r.Outputs, out)
	}
	for _, s := range q.Secrets {
		r.Secrets = append(r.Secrets, build.Secret(s))
	}
	for _, l := range q.Ulimits {
		r.Ulimits = append(r.Ulimits, build.Ulimit(l))
	}
	r.SSH = agents(q.SSH, u.SSHAuthSock, &r)
	return r
}
