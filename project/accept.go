package project

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/schema"
	"go.yaml.in/yaml/v4"
)

// The loader's schema validator takes some 20 ms of processor time to compile the
// schema, twice as long as everything else that loading does. This file walks the same
// schema without compiling it and recognises what is certainly valid: the usual files.
// Whatever leaves a doubt goes to the loader's validator, which also words the errors.

// verdict is what is known about a value.
type verdict int

const (
	invalid verdict = iota
	doubtful
	valid
)

// composeSchema is the compose schema as decoded JSON.
var composeSchema = sync.OnceValue(func() map[string]any {
	var doc map[string]any
	if json.Unmarshal([]byte(schema.Schema), &doc) != nil {
		return nil
	}
	return doc
})

// certainlyValid tells whether the project is a single file that the schema accepts,
// before and after its variables are replaced.
func (in *input) certainlyValid() bool {
	all := in.sources
	if len(all.files) != 1 || len(all.others) != 0 || all.unread || len(all.files[0].docs) != 1 || all.files[0].v1 || in.options.NoInterpolate {
		return false
	}
	doc := all.files[0].docs[0]
	if hasTags(doc) {
		return false
	}
	var value map[string]any
	if doc.Decode(&value) != nil || !simple(value) {
		return false
	}
	if version, ok := value["version"].(int); ok {
		value["version"] = strconv.Itoa(version)
	} else if version, ok := value["version"].(float64); ok {
		value["version"] = strconv.FormatFloat(version, 'g', -1, 64)
	}
	a := acceptor{root: composeSchema(), casts: castKeys(), patterns: map[string]*regexp.Regexp{}}
	return a.root != nil && a.check(a.root, value, false) == valid
}

// hasTags tells whether a document has tags like !reset, which change what is loaded.
func hasTags(n *yaml.Node) bool {
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		return true
	}
	return slices.ContainsFunc(n.Content, hasTags)
}

// simple leaves out what the loader rewrites before it validates, and the configs that
// are ambiguous once their environment is resolved.
func simple(top map[string]any) bool {
	services, _ := top["services"].(map[string]any)
	for _, s := range services {
		if service, ok := s.(map[string]any); ok {
			if _, old := service["x-develop"]; old || service["extends"] != nil || service["develop"] != nil {
				return false
			}
		}
	}
	configs, _ := top["configs"].(map[string]any)
	for _, c := range configs {
		config, _ := c.(map[string]any)
		sources := 0
		for _, key := range []string{"file", "environment", "content"} {
			if _, ok := config[key]; ok {
				sources++
			}
		}
		if sources > 1 {
			return false
		}
	}
	return top["include"] == nil
}

// acceptor walks the schema and a value together.
type acceptor struct {
	root     map[string]any
	casts    map[string]bool // keys whose texts the loader turns into numbers or booleans
	patterns map[string]*regexp.Regexp
}

// check judges a value by a schema. With cast, texts may become numbers or booleans.
func (a *acceptor) check(s map[string]any, value any, cast bool) verdict {
	result := valid
	for keyword, rule := range s {
		result = min(result, a.keyword(keyword, rule, value, cast))
		if result == invalid {
			return invalid
		}
	}
	result = min(result, a.properties(s, value, cast), a.unevaluated(s, value))
	if text, ok := value.(string); ok && cast && result == valid {
		return a.checkCast(s, text)
	}
	return result
}

// checkCast judges a text that the loader may convert: the results have to be valid too.
func (a *acceptor) checkCast(s map[string]any, text string) verdict {
	if strings.Contains(text, "$") {
		return doubtful
	}
	result := valid
	if i, err := strconv.ParseInt(text, 0, 64); err == nil {
		result = min(result, a.check(s, int(i), false))
	} else if f, err := strconv.ParseFloat(text, 64); err == nil {
		result = min(result, a.check(s, f, false))
	}
	if slices.Contains([]string{"true", "false", "y", "yes", "on", "n", "no", "off"}, strings.ToLower(text)) {
		result = min(result, a.check(s, true, false))
	}
	if result == valid {
		return valid
	}
	return doubtful
}

func (a *acceptor) keyword(keyword string, rule, value any, cast bool) verdict {
	switch keyword {
	case "description", "title", "$schema", "$id", "$defs", "deprecated", "default":
		return valid
	case "properties", "patternProperties", "additionalProperties", "unevaluatedProperties":
		return valid // judged together by the caller
	case "$ref":
		return a.check(a.resolve(rule), value, cast)
	case "type":
		return ofType(rule, value)
	case "enum":
		return inList(rule, value)
	case "pattern":
		return a.pattern(rule, value)
	case "minimum", "maximum":
		return bounded(keyword, rule, value)
	case "required":
		return hasKeys(rule, value)
	case "items":
		return a.items(rule, value, cast)
	case "uniqueItems":
		return unique(rule, value)
	case "oneOf":
		return a.oneOf(rule, value, cast)
	case "allOf":
		return a.allOf(rule, value, cast)
	}
	return doubtful
}

func (a *acceptor) resolve(ref any) map[string]any {
	name, _ := ref.(string)
	defs, _ := a.root["$defs"].(map[string]any)
	s, ok := defs[strings.TrimPrefix(name, "#/$defs/")].(map[string]any)
	if !ok {
		return map[string]any{"unknown reference": name}
	}
	return s
}

func (a *acceptor) items(rule, value any, cast bool) verdict {
	list, ok := value.([]any)
	s, isSchema := rule.(map[string]any)
	if !ok || !isSchema {
		return doubtful
	}
	result := valid
	for _, item := range list {
		result = min(result, a.check(s, item, cast))
	}
	return result
}

func (a *acceptor) oneOf(rule, value any, cast bool) verdict {
	branches, _ := rule.([]any)
	accepted := 0
	for _, branch := range branches {
		s, _ := branch.(map[string]any)
		switch a.check(s, value, cast && accepting(value)) {
		case valid:
			accepted++
		case doubtful:
			return doubtful
		case invalid:
		}
	}
	if accepted == 1 {
		return valid
	}
	return doubtful
}

// accepting is false for texts: a branch for texts is right for the text itself, and
// what it is converted to is judged by the schema around the branches.
func accepting(value any) bool {
	_, text := value.(string)
	return !text
}

func (a *acceptor) allOf(rule, value any, cast bool) verdict {
	parts, _ := rule.([]any)
	result := valid
	for _, part := range parts {
		s, _ := part.(map[string]any)
		result = min(result, a.check(s, value, cast))
	}
	return result
}

// properties judges the values of an object that the schema has rules for, and the keys
// where it allows no others.
func (a *acceptor) properties(s map[string]any, value any, cast bool) verdict {
	object, ok := value.(map[string]any)
	if !ok {
		return valid // its type is judged elsewhere
	}
	known, _ := s["properties"].(map[string]any)
	patterns, _ := s["patternProperties"].(map[string]any)
	result := valid
	for key, inner := range object {
		found := false
		below := cast || a.casts[key]
		if sub, ok := known[key].(map[string]any); ok {
			found = true
			result = min(result, a.check(sub, inner, below))
		}
		for pattern, rule := range patterns {
			if sub, ok := rule.(map[string]any); ok && a.match(pattern, key) {
				found = true
				result = min(result, a.check(sub, inner, below))
			}
		}
		if found {
			continue
		}
		switch more := s["additionalProperties"].(type) {
		case bool:
			if !more {
				return invalid
			}
		case map[string]any:
			result = min(result, a.check(more, inner, below))
		}
	}
	return result
}

// unevaluated judges the keys of an object that none of the schema's parts knows.
func (a *acceptor) unevaluated(s map[string]any, value any) verdict {
	rule, limited := s["unevaluatedProperties"]
	object, ok := value.(map[string]any)
	if !ok || !limited {
		return valid
	}
	if rule != false {
		return doubtful
	}
	for key := range object {
		if !a.knows(s, key) {
			return doubtful
		}
	}
	return valid
}

func (a *acceptor) knows(s map[string]any, key string) bool {
	known, _ := s["properties"].(map[string]any)
	if _, ok := known[key]; ok {
		return true
	}
	patterns, _ := s["patternProperties"].(map[string]any)
	for pattern := range patterns {
		if a.match(pattern, key) {
			return true
		}
	}
	parts, _ := s["allOf"].([]any)
	return slices.ContainsFunc(parts, func(part any) bool {
		sub, _ := part.(map[string]any)
		if ref, ok := sub["$ref"]; ok {
			sub = a.resolve(ref)
		}
		return a.knows(sub, key)
	})
}
