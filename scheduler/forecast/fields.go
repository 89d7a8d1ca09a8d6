package forecast

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"tutti/scheduler/api"
)

// Differences compares two canonical forms of a service or of a network (project.Canonical, project.NetworkCanonical) field by
// field, sorted as the fields stand in them: environment and labels by variable, ports by port, mounts by target, a command
// as a whole. Values that look like secrets are left out unless show (see looksSecret and mask); those of secrets always are,
// for only their hashes are known. An error says that one of the two cannot be read, as when it was not recorded.
func Differences(before, after json.RawMessage, show bool) ([]api.Difference, error) {
	was, err := object(before)
	if err != nil {
		return nil, err
	}
	is, err := object(after)
	if err != nil {
		return nil, err
	}
	c := comparer{show: show}
	c.references(pop(was, "references"), pop(is, "references"))
	c.maps("", was, is)
	if len(c.found) == 0 {
		return c.empty, nil
	}
	return c.found, nil
}

func object(raw json.RawMessage) (map[string]any, error) {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("read a recorded configuration: %w", err)
	}
	return m, nil
}

func pop(m map[string]any, key string) map[string]any {
	value, _ := m[key].(map[string]any)
	delete(m, key)
	return value
}

// comparer collects differences.
type comparer struct {
	show         bool
	found, empty []api.Difference // empty: of what holds nothing on both sides, which matters only when nothing else differs
}

// references compares what a service's definition refers to: names of networks and volumes, contents of configs and secrets.
func (c *comparer) references(was, is map[string]any) {
	for _, key := range keys(was, is) {
		before, after := text(was[key]), text(is[key])
		if before != nil && after != nil && *before == *after {
			continue
		}
		kind, name, _ := strings.Cut(key, " ")
		if kind != "network" && (before == nil || after == nil) {
			continue // what refers to it says so
		}
		d := api.Difference{Field: kind + "s." + name, Change: change(before != nil, after != nil), Before: before, After: after}
		switch kind {
		case "network", "volume":
			d.Field += ".name"
		default: // "file path", "external name", or the hash of what is in it
			for _, value := range []**string{&d.Before, &d.After} {
				if *value == nil || strings.Contains(**value, " ") {
					continue
				}
				*value, d.Note = nil, "its content differs"
				d.Hidden = d.Hidden || kind == "secret"
			}
		}
		c.found = append(c.found, d)
	}
}

func keys(was, is map[string]any) []string {
	all := maps.Clone(was)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, is)
	return slices.Sorted(maps.Keys(all))
}

func change(before, after bool) api.Change {
	switch {
	case !before:
		return api.ChangeAdded
	case !after:
		return api.ChangeRemoved
	}
	return api.ChangeChanged
}

func (c *comparer) maps(path string, was, is map[string]any) {
	for _, key := range keys(was, is) {
		before, wasThere := was[key]
		after, isThere := is[key]
		field := key
		if path != "" {
			field = path + "." + key
		}
		c.values(field, key, side{before, wasThere}, side{after, isThere})
	}
}

// side is the value of a field on one of the two sides, if it is there. A variable without a value is there, and nil.
type side struct {
	value any
	there bool
}

// values compares one field; key is the last part of its name.
func (c *comparer) values(field, key string, was, is side) {
	if was.there == is.there && reflect.DeepEqual(was.value, is.value) {
		return
	}
	before, wasMap := was.value.(map[string]any)
	after, isMap := is.value.(map[string]any)
	if (wasMap || !was.there) && (isMap || !is.there) && len(before)+len(after) > 0 {
		c.maps(field, before, after)
		return
	}
	if (wasMap || !was.there) && (isMap || !is.there) {
		c.empty = append(c.empty, api.Difference{Field: field, Change: change(was.there, is.there)})
		return
	}
	olds, wasList := was.value.([]any)
	news, isList := is.value.([]any)
	if (wasList || !was.there) && (isList || !is.there) && len(olds)+len(news) > 0 && !isCommand(key) {
		c.lists(field, key, olds, news)
		return
	}
	c.add(field, key, was, is)
}

// isCommand tells whether a list of words is one command.
func isCommand(key string) bool { return key == "command" || key == "entrypoint" || key == "test" }

// add notes a difference as one.
func (c *comparer) add(field, key string, was, is side) {
	d := api.Difference{Field: field, Change: change(was.there, is.there)}
	if c.show || !looksSecret(key) {
		d.Before, d.After = was.text(), is.text()
	} else {
		d.Hidden = true
	}
	for _, value := range []*string{d.Before, d.After} {
		if value == nil || c.show {
			continue
		}
		if masked := mask(*value); masked != *value {
			*value, d.Hidden = masked, true
		}
	}
	c.found = append(c.found, d)
}

func (s side) text() *string {
	if !s.there {
		return nil
	}
	return text(s.value)
}

// text is a value in words; nil stays nil.
func text(value any) *string {
	var s string
	switch v := value.(type) {
	case nil:
		return nil
	case string:
		s = v
	case []any:
		words := make([]string, len(v))
		for i, item := range v {
			if word := text(item); word != nil {
				words[i] = *word
			}
		}
		s = api.CommandLine(words)
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			value := text(v[key])
			if value != nil && *value != "" {
				parts = append(parts, key+"="+*value)
			}
		}
		s = strings.Join(parts, " ")
	default:
		s = fmt.Sprint(v)
	}
	return &s
}

// lists compares two lists: of ports, mounts and the like by what each is for, of others that hold several things by their
// places, and of words by which of them there are.
func (c *comparer) lists(field, key string, was, is []any) {
	if of := identity[field]; of != nil {
		c.keyed(field, of, was, is)
		return
	}
	words := func(l []any) bool {
		return !slices.ContainsFunc(l, func(v any) bool { _, ok := v.(string); return !ok })
	}
	if !words(was) || !words(is) {
		for i := range max(len(was), len(is)) {
			c.values(fmt.Sprintf("%s[%d]", field, i), key, at(was, i), at(is, i))
		}
		return
	}
	lost, gained := without(was, is), without(is, was)
	if len(lost)+len(gained) == 0 { // another order, or one more of the same
		c.add(field, key, side{was, true}, side{is, true})
		return
	}
	for _, v := range lost {
		c.add(field, key, side{v, true}, side{})
	}
	for _, v := range gained {
		c.add(field, key, side{}, side{v, true})
	}
}

func at(l []any, i int) side {
	if i >= len(l) {
		return side{}
	}
	return side{l[i], true}
}

func without(list, others []any) []any {
	return slices.DeleteFunc(slices.Clone(list), func(v any) bool { return slices.Contains(others, v) })
}

// identity says for lists of a service what each of their elements is for. Two of the same stand in their order.
var identity = map[string]func(map[string]any) string{
	"ports":   func(m map[string]any) string { return word(m, "target") + "/" + word(m, "protocol") },
	"volumes": func(m map[string]any) string { return word(m, "target") },
	"devices": func(m map[string]any) string { return word(m, "target") },
	"configs": source,
	"secrets": source,
}

func source(m map[string]any) string { return word(m, "source") }

func word(m map[string]any, key string) string {
	if value := text(m[key]); value != nil {
		return *value
	}
	return ""
}

// keyed compares two lists by what their elements are for.
func (c *comparer) keyed(field string, of func(map[string]any) string, was, is []any) {
	index := func(list []any) map[string]any {
		all, seen := map[string]any{}, map[string]int{}
		for _, item := range list {
			m, _ := item.(map[string]any)
			name := of(m)
			if seen[name]++; seen[name] > 1 {
				name += " (" + strconv.Itoa(seen[name]) + ")"
			}
			all[name] = m
		}
		return all
	}
	before, after := index(was), index(is)
	for _, name := range keys(before, after) {
		old, wasThere := before[name].(map[string]any)
		next, isThere := after[name].(map[string]any)
		at := field + " " + name
		switch {
		case reflect.DeepEqual(old, next):
		case field == "ports" && portText(old) != portText(next):
			c.add(at, "", side{portText(old), wasThere}, side{portText(next), isThere})
		case wasThere && isThere:
			c.maps(at, old, next)
		default:
			c.add(at, "", side{elementText(field, old), wasThere}, side{elementText(field, next), isThere})
		}
	}
}

// portText is where of the host a port is published: 127.0.0.1:8080, or any.
func portText(m map[string]any) string {
	host := word(m, "published")
	if host == "" {
		host = "any port"
	}
	if ip := word(m, "host_ip"); ip != "" {
		host = ip + ":" + host
	}
	return host
}

// elementText is an element of a list without what it is for, which its field says.
func elementText(field string, m map[string]any) string {
	rest := maps.Clone(m)
	if field != "configs" && field != "secrets" {
		delete(rest, "target")
		if s := word(rest, "source"); s != "" {
			delete(rest, "source")
			delete(rest, "bind")
			return strings.TrimSpace(strings.TrimSpace(word(rest, "type")+" "+s) + " " + leaves(rest, "type"))
		}
	}
	return leaves(rest, "")
}

func leaves(m map[string]any, but string) string {
	rest := maps.Clone(m)
	delete(rest, but)
	return *text(rest)
}
