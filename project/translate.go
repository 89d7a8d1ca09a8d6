package project

import (
	"cmp"
	"errors"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

// Shapes of the loader's messages.
var (
	validating  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^validating (.+?): (.+)$`) })
	parsing     = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^failed to parse (.+?): (.+)$`) })
	unknownKey  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(\S*) additional properties (.+) not allowed$`) })
	falseSchema = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(\S+)\.([^.\s]+) false schema$`) })
	decoding    = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^'(services|jobs|networks|volumes)\[(.+?)\](\S*?)' (.+)$`)
	})
	casting = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`failed to cast to expected type: (?:strconv\.\w+: parsing (".*"): .*|invalid boolean: (.*))$`)
	})
	modelPath = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`\b(services|networks|volumes|secrets|configs|jobs|models|include|name)((?:\.[\w\[\]/@~-]+)*)`)
	})
	quotedFirst  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`'([^']+)'`) })
	serviceNamed = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`service "([^"]+)"`) })
	listIndex    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\[(\d+)\]`) })
)

// renamedKeys are service keys of the first file format that the schema refuses.
var renamedKeys = map[string]string{
	"net": "network_mode", "log_driver": "logging.driver", "log_opt": "logging.options",
	"dockerfile": "build.dockerfile", "volume_driver": "driver of the volume",
}

// translate makes an Error of what the loader reports, by finding in its message the
// file, the path in the model or the service that it is about.
func (in *input) translate(err error) error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	msg := firstOf(err).Error()
	e := &Error{err: err}
	if m := parsing().FindStringSubmatch(msg); m != nil {
		return syntaxError(m[1], errors.New(m[2]))
	}
	if m := validating().FindStringSubmatch(msg); m != nil {
		e.File, msg = m[1], m[2]
	}
	msg = normalise(msg)
	switch {
	case in.explainMissing(e, err, msg):
	case explainVariable(e, err):
	case explainKey(e, msg):
	case strings.HasPrefix(msg, "include cycle detected"):
		e.What, e.Fix = "files include one another in a cycle: "+arrows(msg, "include "), "remove one of the includes"
	case strings.HasPrefix(msg, "Circular reference"):
		e.What, e.Fix = "services extend one another in a cycle: "+arrows(msg, "extends "), "remove one of the extends"
	case msg == "project name must not be empty":
		e.File, e.What, e.Fix = in.mainFile(), "`name` is empty", "give the project a name, here or with -p"
	case msg == "empty compose file":
		e.File, e.What, e.Fix = in.mainFile(), "the file is empty", "add a `services` section"
	case strings.Contains(strings.ToLower(msg), "top-level object must be a mapping"):
		e.File, e.What, e.Fix = in.mainFile(), "this is no compose file: its top level is not a mapping", "begin it with `services:`"
	default:
		e.What = msg
		if m := casting().FindStringSubmatch(msg); m != nil {
			e.What = strings.Join(errorPath(msg), ".") + " is " + cmp.Or(m[1], strconv.Quote(m[2])) + ", which is not of the right type"
		}
		e.Fix = "correct the value"
	}
	in.locateError(e, msg)
	if e.Service != "" {
		e.What = strings.TrimPrefix(e.What, "services."+e.Service+".")
	}
	return e
}

// normalise brings the shapes of the loader's messages to the one of schema errors:
// a path, a space, what is wrong.
func normalise(msg string) string {
	if m := falseSchema().FindStringSubmatch(msg); m != nil {
		return m[1] + " additional properties '" + m[2] + "' not allowed"
	}
	if m := decoding().FindStringSubmatch(msg); m != nil {
		return m[1] + "." + m[2] + m[3] + " " + m[4]
	}
	return msg
}

// firstOf returns the first of several joined errors: one line is shown at a time.
func firstOf(err error) error {
	for {
		var many interface{ Unwrap() []error }
		if !errors.As(err, &many) || len(many.Unwrap()) == 0 {
			return err
		}
		err = many.Unwrap()[0]
	}
}

// arrows turns the loader's list of lines into a path.
func arrows(msg, word string) string {
	lines := strings.Split(msg, "\n")[1:]
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimSpace(line), word)
	}
	return strings.Join(lines, " -> ")
}

// explainMissing finds where a file that does not exist is named.
func (in *input) explainMissing(e *Error, err error, msg string) bool {
	for path, explained := range in.sources.missing {
		if !strings.Contains(msg, path) {
			continue
		}
		if where, ok := errors.AsType[*Error](explained); ok {
			*e = *where
			return true
		}
	}
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		e.File, e.What, e.Fix = pathErr.Path, "cannot read this file: "+reason(err), "check the path"
		return true
	}
	return false
}

// explainVariable handles variables: a required one that is missing, or bad syntax.
func explainVariable(e *Error, err error) bool {
	if missing, ok := errors.AsType[*template.MissingRequiredError](err); ok {
		e.What = "the required variable " + missing.Variable + " is not set"
		if missing.Reason != "" {
			e.What += ": " + missing.Reason
		}
		e.Fix = "set it in the environment or in .env"
		return true
	}
	if invalid, ok := errors.AsType[*template.InvalidTemplateError](err); ok {
		e.What = "invalid variable syntax in " + strings.TrimSpace(invalid.Template)
		e.Fix = "write ${NAME}, ${NAME:-default} or ${NAME:?message}, and $$ for a dollar sign"
		return true
	}
	return false
}

// explainKey handles keys that the schema does not know.
func explainKey(e *Error, msg string) bool {
	m := unknownKey().FindStringSubmatch(msg)
	if m == nil {
		return false
	}
	key := m[2]
	if q := quotedFirst().FindStringSubmatch(key); q != nil {
		key = q[1]
	}
	if element, ok := strings.CutSuffix(m[1], "s"); ok && !strings.Contains(m[1], ".") {
		e.What = "`" + key + "` is no name for a " + element
		e.Fix = "use letters, digits, '.', '_' and '-'"
		return true
	}
	e.What = "unknown key `" + key + "`"
	if modern := renamedKeys[key]; modern != "" && strings.HasPrefix(m[1], "services.") {
		e.Fix = "this key of file format 1 is written `" + modern + "` now"
		return true
	}
	e.Fix = "correct its spelling or indentation, or begin its name with x- to have it ignored"
	if known := nearestKey(m[1], key); known != "" {
		e.Fix = "did you mean `" + known + "`?"
	}
	return true
}

// locateError fills in file, line and service from the path or service named in a message.
func (in *input) locateError(e *Error, msg string) {
	if e.Line > 0 {
		return
	}
	path := errorPath(msg)
	if path == nil {
		path = in.findBadValue(msg)
	}
	if path == nil {
		return
	}
	if len(path) > 1 && path[0] == "services" {
		e.Service = in.serviceOf(path)
	}
	if at := in.positions.find(path...); at.line > 0 {
		e.File, e.Line = at.file, at.line
	}
}

// errorPath finds the path in the model that a message names; nil without one.
func errorPath(msg string) []string {
	if m := modelPath().FindStringSubmatch(msg); m != nil && (m[2] != "" || strings.HasPrefix(msg, m[1])) {
		path := strings.Split(listIndex().ReplaceAllString(m[1]+m[2], ".$1"), ".")
		if k := unknownKey().FindStringSubmatch(msg); k != nil {
			if q := quotedFirst().FindStringSubmatch(k[2]); q != nil {
				path = append(path, q[1])
			}
		}
		return path
	}
	if k := unknownKey().FindStringSubmatch(msg); k != nil {
		if q := quotedFirst().FindStringSubmatch(k[2]); q != nil {
			return []string{q[1]}
		}
	}
	if m := serviceNamed().FindStringSubmatch(msg); m != nil {
		return []string{"services", m[1]}
	}
	return nil
}

// serviceOf is the service that a path is in; names may contain dots, so the longest
// one that is written somewhere wins.
func (in *input) serviceOf(path []string) string {
	for n := len(path); n > 1; n-- {
		name := strings.Join(path[1:n], ".")
		if at, ok := in.positions["services."+name]; ok && at.line > 0 {
			if n == 2 || in.isService(name) {
				return name
			}
		}
	}
	return path[1]
}

func (in *input) isService(name string) bool {
	for _, s := range append(in.sources.files, in.sources.others...) {
		for _, doc := range s.docs {
			services := root(doc)
			if !s.v1 {
				_, services = child(services, "services")
			}
			if key, _ := child(services, name); key != nil {
				return true
			}
		}
	}
	return false
}

// findBadValue looks for the short port that the loader refuses without saying where
// it is: the first one that does not parse.
func (in *input) findBadValue(string) []string {
	for _, s := range in.sources.files {
		for _, doc := range s.docs {
			services := root(doc)
			if !s.v1 {
				_, services = child(services, "services")
			}
			if services == nil || services.Kind != yaml.MappingNode {
				continue
			}
			for i := 0; i+1 < len(services.Content); i += 2 {
				name := services.Content[i].Value
				if index := in.badPort(deref(services.Content[i+1])); index != "" {
					return []string{"services", name, "ports", index}
				}
			}
		}
	}
	return nil
}

func (in *input) badPort(service *yaml.Node) string {
	_, ports := child(service, "ports")
	if ports == nil || ports.Kind != yaml.SequenceNode {
		return ""
	}
	for i, port := range ports.Content {
		if port = deref(port); port.Kind != yaml.ScalarNode {
			continue
		}
		if _, err := types.ParsePortConfig(in.location.expand(port.Value)); err != nil {
			return strconv.Itoa(i)
		}
	}
	return ""
}
