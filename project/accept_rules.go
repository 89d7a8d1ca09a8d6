package project

import (
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/validation"
)

// The rules of the schema about single values, and what the loader checks beside it.

func ofType(rule, value any) verdict {
	types, ok := rule.([]any)
	if !ok {
		types = []any{rule}
	}
	kind := ""
	switch v := value.(type) {
	case nil:
		kind = "null"
	case bool:
		kind = "boolean"
	case string:
		kind = "string"
	case int, int64, uint64:
		kind = "integer"
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) || v == math.Trunc(v) {
			return doubtful
		}
		kind = "number"
	case []any:
		kind = "array"
	case map[string]any:
		kind = "object"
	default:
		return doubtful
	}
	if slices.Contains(types, any(kind)) || kind == "integer" && slices.Contains(types, any("number")) {
		return valid
	}
	return invalid
}

func inList(rule, value any) verdict {
	list, _ := rule.([]any)
	if text, ok := value.(string); ok && !strings.Contains(text, "$") && slices.Contains(list, value) {
		return valid
	}
	return doubtful
}

func (a *acceptor) pattern(rule, value any) verdict {
	pattern, ok := rule.(string)
	text, isText := value.(string)
	if ok && isText && !strings.Contains(text, "$") && a.match(pattern, text) {
		return valid
	}
	return doubtful
}

func (a *acceptor) match(pattern, text string) bool {
	re := a.patterns[pattern]
	if re == nil {
		var err error
		if re, err = regexp.Compile(pattern); err != nil {
			return false
		}
		a.patterns[pattern] = re
	}
	return re.MatchString(text)
}

func bounded(keyword string, rule, value any) verdict {
	limit, ok := rule.(float64)
	number := reflect.ValueOf(value)
	if !ok || !number.IsValid() || !number.CanInt() {
		return doubtful
	}
	if n := float64(number.Int()); keyword == "minimum" && n >= limit || keyword == "maximum" && n <= limit {
		return valid
	}
	return doubtful
}

func hasKeys(rule, value any) verdict {
	object, ok := value.(map[string]any)
	keys, isList := rule.([]any)
	if !ok || !isList {
		return doubtful
	}
	for _, key := range keys {
		name, _ := key.(string)
		if _, there := object[name]; !there {
			return invalid
		}
	}
	return valid
}

// unique is certain for a few items without variables.
func unique(rule, value any) verdict {
	list, ok := value.([]any)
	if rule == false {
		return valid
	}
	if !ok || len(list) > 200 {
		return doubtful
	}
	for i, item := range list {
		if len(list) > 1 && variable(item) {
			return doubtful
		}
		for _, other := range list[:i] {
			if reflect.DeepEqual(item, other) {
				return doubtful
			}
		}
	}
	return valid
}

// variable tells whether there is a variable anywhere in a value.
func variable(value any) bool {
	switch v := value.(type) {
	case string:
		return strings.Contains(v, "$")
	case []any:
		return slices.ContainsFunc(v, variable)
	case map[string]any:
		for _, inner := range v {
			if variable(inner) {
				return true
			}
		}
	}
	return false
}

// checkModel applies the loader's checks beyond the schema, which it leaves out with
// the schema, to those parts of a model that they are about.
func checkModel(model map[string]any) error {
	part := map[string]any{"volumes": model["volumes"], "secrets": model["secrets"]}
	services, _ := model["services"].(map[string]any)
	few := make(map[string]any, len(services))
	for name, s := range services {
		service, _ := s.(map[string]any)
		few[name] = map[string]any{"ports": service["ports"], "deploy": service["deploy"], "gpus": service["gpus"]}
	}
	part["services"] = few
	configs, _ := model["configs"].(map[string]any)
	resolved := make(map[string]any, len(configs))
	for name, c := range configs {
		config, ok := c.(map[string]any)
		if _, env := config["environment"]; ok && env {
			// The loader has put the variable's value beside it.
			config = map[string]any{"environment": config["environment"]}
		}
		resolved[name] = config
	}
	part["configs"] = resolved
	return validation.Validate(part)
}
