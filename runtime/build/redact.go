package build

import (
	"net/url"
	"slices"
	"strings"

	"github.com/moby/buildkit/client"
)

const hidden = "xxxxx"

// redact hides the credentials in a URL.
func redact(raw string) string {
	return strings.NewReplacer(credentialsIn(raw)...).Replace(raw)
}

// credentialsIn are pairs for a strings.Replacer that hide user, password or token of
// a URL wherever they stand.
func credentialsIn(raw string) []string {
	parsed, err := url.Parse(raw)
	if err != nil || parsed.User == nil {
		return nil
	}
	if parsed.Scheme == "ssh" { // the user is no secret, and there is no password
		return nil
	}
	secret, ok := parsed.User.Password()
	if !ok || secret == "" {
		secret = parsed.User.Username() // a token
	}
	if len(secret) == 0 {
		return nil
	}
	user := parsed.User.String()
	pairs := []string{user + "@", hidden + "@", secret, hidden}
	if escaped := url.QueryEscape(secret); escaped != secret {
		pairs = append(pairs, escaped, hidden)
	}
	if escaped := url.PathEscape(secret); escaped != secret {
		pairs = append(pairs, escaped, hidden)
	}
	return pairs
}

// redactor hides the credentials that are in the request's URLs. Nil: there are none.
func redactor(r Request) *strings.Replacer {
	pairs := credentialsIn(r.Context)
	for _, source := range r.AdditionalContexts {
		pairs = append(pairs, credentialsIn(source)...)
	}
	if len(pairs) == 0 {
		return nil
	}
	return strings.NewReplacer(pairs...)
}

// redactStatus hides credentials in what is shown of the build.
func redactStatus(hide *strings.Replacer, s *client.SolveStatus) *client.SolveStatus {
	if hide == nil {
		return s
	}
	out := *s
	out.Vertexes = slices.Clone(s.Vertexes)
	for i, v := range out.Vertexes {
		c := *v
		c.Name, c.Error = hide.Replace(v.Name), hide.Replace(v.Error)
		out.Vertexes[i] = &c
	}
	out.Statuses = slices.Clone(s.Statuses)
	for i, v := range out.Statuses {
		c := *v
		c.ID, c.Name = hide.Replace(v.ID), hide.Replace(v.Name)
		out.Statuses[i] = &c
	}
	out.Logs = slices.Clone(s.Logs)
	for i, l := range out.Logs {
		c := *l
		c.Data = []byte(hide.Replace(string(l.Data)))
		out.Logs[i] = &c
	}
	return &out
}

// present is a status as it is shown: without credentials, and with the result's names in place of the one by which the
// exporter knows it.
func (p *progress) present(s *client.SolveStatus) *client.SolveStatus {
	s = redactStatus(p.hide, s)
	var shown []*client.VertexStatus
	for _, v := range s.Statuses {
		verb := v.ID[:strings.LastIndex(v.ID, " ")+1]
		if verb == "" || !strings.HasPrefix(v.ID[len(verb):], p.dangling) {
			shown = append(shown, v)
			continue
		}
		for _, name := range p.names {
			c := *v
			c.ID = verb + name
			shown = append(shown, &c)
		}
	}
	out := *s
	out.Statuses = shown
	return &out
}
