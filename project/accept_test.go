package project

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// Whatever is loaded without the loader's schema validation is loaded the same with it:
// for the corpus, and for random changes of it, most of which are wrong.
func TestCertainlyValidIsValid(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	certain, refused := 0, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if compareLoads(t, file, string(text)) {
			certain++
		} else {
			t.Logf("%s goes through the validator", file)
		}
		for seed := range uint64(12) {
			changed := mutate(t, rand.New(rand.NewPCG(seed, 3)), text)
			if changed != "" && !compareLoads(t, fmt.Sprintf("%s, change %d", file, seed), changed) {
				refused++
			}
		}
	}
	if certain < len(files)/2 || refused < 50 {
		t.Errorf("%d of %d files are certain, %d changes went through the validator", certain, len(files), refused)
	}
}

// compareLoads tells whether a file is taken for certainly valid.
func compareLoads(t *testing.T, name, text string) bool {
	t.Helper()
	in, err := prepare(Options{
		Files: []string{"-"}, Stdin: strings.NewReader(text), Name: "x",
		ProjectDir: "testdata/corpus", Environ: []string{"FROM_SHELL=x", "HOME=/root"},
	})
	if err != nil || !in.certainlyValid() {
		return false
	}
	fast, err := in.loadOnce(t.Context(), true)
	if err != nil {
		return false
	}
	slow, err := in.loadOnce(t.Context(), false)
	if err != nil {
		t.Errorf("%s is not valid: %v\n%s", name, err, text)
		return true
	}
	if !reflect.DeepEqual(fast, slow) {
		t.Errorf("%s is loaded differently:\n%+v\n%+v", name, fast, slow)
	}
	return true
}

// mutate changes one value or key somewhere in a compose file.
func mutate(t *testing.T, random *rand.Rand, text []byte) string {
	t.Helper()
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return ""
	}
	change(random, doc, 0)
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// odd are values that are wrong in most places.
var odd = []any{
	nil, true, -1, 0, 70000, 3.5, "", "text", "5", "-5", "true", "${X:-1}", "1x", "~",
	[]any{},
	[]any{"a", "a"},
	[]any{1, "b"},
	map[string]any{},
	map[string]any{"a": "b"},
	map[string]any{"a": []any{1}},
	[]any{map[string]any{"target": 1}},
}

func change(random *rand.Rand, value any, depth int) {
	switch v := value.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		if len(keys) == 0 || random.IntN(6) == 0 && depth > 0 {
			v[[]string{"unknown", "x-fine", "image", "name", "external"}[random.IntN(5)]] = odd[random.IntN(len(odd))]
			return
		}
		key := keys[random.IntN(len(keys))]
		if depth < 2 || random.IntN(3) > 0 && container(v[key]) {
			change(random, v[key], depth+1)
			return
		}
		if random.IntN(8) == 0 {
			delete(v, key)
			return
		}
		v[key] = odd[random.IntN(len(odd))]
	case []any:
		if len(v) == 0 {
			return
		}
		i := random.IntN(len(v))
		if random.IntN(2) == 0 && container(v[i]) {
			change(random, v[i], depth+1)
			return
		}
		v[i] = odd[random.IntN(len(odd))]
	}
}

func container(value any) bool {
	switch value.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}
