package project

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"unicode/utf8"
)

// This file writes Go values as JSON by their structure alone. Structs become objects
// by field name with zero fields left out, nil and empty slices and maps are kept apart
// (null and [] or {}), and values of interface type carry the name of their type.

func encodeValue(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	if err := encode(&b, reflect.ValueOf(v).Elem()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func encode(b *bytes.Buffer, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Bool:
		b.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		b.WriteString(strconv.FormatInt(v.Int(), 10))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		b.WriteString(strconv.FormatUint(v.Uint(), 10))
	case reflect.Float32, reflect.Float64:
		// As text: JSON has no infinity.
		return encodeString(b, strconv.FormatFloat(v.Float(), 'g', -1, 64))
	case reflect.String:
		return encodeString(b, v.String())
	case reflect.Pointer:
		if v.IsNil() {
			b.WriteString("null")
			return nil
		}
		return encode(b, v.Elem())
	case reflect.Slice:
		return encodeSlice(b, v)
	case reflect.Map:
		return encodeMap(b, v)
	case reflect.Struct:
		return encodeStruct(b, v)
	case reflect.Interface:
		return encodeInterface(b, v)
	default:
		return fmt.Errorf("values of type %s cannot be encoded", v.Type())
	}
	return nil
}

// encodeString writes text as a JSON string. Bytes that are no UTF-8, which an
// environment may have and JSON would replace, become a list with their base64 form.
func encodeString(b *bytes.Buffer, s string) error {
	var v any = s
	if !utf8.ValidString(s) {
		v = [1]string{base64.StdEncoding.EncodeToString([]byte(s))}
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	b.Write(text)
	return nil
}

func encodeSlice(b *bytes.Buffer, v reflect.Value) error {
	if v.IsNil() {
		b.WriteString("null")
		return nil
	}
	b.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := encode(b, v.Index(i)); err != nil {
			return err
		}
	}
	b.WriteByte(']')
	return nil
}

func encodeMap(b *bytes.Buffer, v reflect.Value) error {
	if v.IsNil() {
		b.WriteString("null")
		return nil
	}
	if v.Type().Key().Kind() != reflect.String {
		return fmt.Errorf("maps of type %s cannot be encoded", v.Type())
	}
	keys := v.MapKeys()
	sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
	b.WriteByte('{')
	for i, key := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		if !utf8.ValidString(key.String()) {
			return fmt.Errorf("the name %q is not UTF-8", key.String())
		}
		if err := encodeString(b, key.String()); err != nil {
			return err
		}
		b.WriteByte(':')
		if err := encode(b, v.MapIndex(key)); err != nil {
			return fmt.Errorf("%s: %w", key.String(), err)
		}
	}
	b.WriteByte('}')
	return nil
}

func encodeStruct(b *bytes.Buffer, v reflect.Value) error {
	t := v.Type()
	first := true
	b.WriteByte('{')
	for i := range t.NumField() {
		if !t.Field(i).IsExported() || v.Field(i).IsZero() {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(`"` + t.Field(i).Name + `":`)
		if err := encode(b, v.Field(i)); err != nil {
			return fmt.Errorf("%s: %w", t.Field(i).Name, err)
		}
	}
	b.WriteByte('}')
	return nil
}

// dynamicTypes are what YAML values of x- keys can be, by the name on the wire.
var dynamicTypes = map[string]reflect.Type{
	"bool":    reflect.TypeFor[bool](),
	"int":     reflect.TypeFor[int](),
	"int64":   reflect.TypeFor[int64](),
	"uint64":  reflect.TypeFor[uint64](),
	"float64": reflect.TypeFor[float64](),
	"string":  reflect.TypeFor[string](),
	"list":    reflect.TypeFor[[]any](),
	"map":     reflect.TypeFor[map[string]any](),
}

var dynamicNames = func() map[reflect.Type]string {
	names := map[reflect.Type]string{}
	for name, t := range dynamicTypes {
		names[t] = name
	}
	return names
}()

func encodeInterface(b *bytes.Buffer, v reflect.Value) error {
	if v.IsNil() {
		b.WriteString("null")
		return nil
	}
	inner := v.Elem()
	name, ok := dynamicNames[inner.Type()]
	if !ok {
		// Dates are all that is left; their text is what the file said.
		name, inner = "string", reflect.ValueOf(fmt.Sprint(inner.Interface()))
	}
	b.WriteString(`{"` + name + `":`)
	if err := encode(b, inner); err != nil {
		return err
	}
	b.WriteByte('}')
	return nil
}

func decodeValue(tree, into any) error { return decode(tree, reflect.ValueOf(into).Elem()) }

func decode(tree any, v reflect.Value) error {
	if tree == nil {
		v.SetZero()
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decode(tree, v.Elem())
	case reflect.Slice:
		return decodeSlice(tree, v)
	case reflect.Map:
		return decodeMap(tree, v)
	case reflect.Struct:
		return decodeStruct(tree, v)
	case reflect.Interface:
		return decodeInterface(tree, v)
	default:
		return decodeScalar(tree, v)
	}
}

func mismatch(tree any, v reflect.Value) error {
	return fmt.Errorf("a %T is no %s", tree, v.Type())
}

func decodeScalar(tree any, v reflect.Value) error {
	var err error
	switch t := tree.(type) {
	case bool:
		if v.Kind() != reflect.Bool {
			return mismatch(tree, v)
		}
		v.SetBool(t)
	case string:
		switch {
		case v.Kind() == reflect.String:
			v.SetString(t)
		case v.CanFloat():
			var f float64
			f, err = strconv.ParseFloat(t, 64)
			v.SetFloat(f)
		default:
			return mismatch(tree, v)
		}
	case json.Number:
		switch {
		case v.CanInt():
			var i int64
			i, err = strconv.ParseInt(t.String(), 10, v.Type().Bits())
			v.SetInt(i)
		case v.CanUint():
			var u uint64
			u, err = strconv.ParseUint(t.String(), 10, v.Type().Bits())
			v.SetUint(u)
		default:
			return mismatch(tree, v)
		}
	case []any:
		text, ok := "", false
		if len(t) == 1 && v.Kind() == reflect.String {
			text, ok = t[0].(string)
		}
		if !ok {
			return mismatch(tree, v)
		}
		var raw []byte
		raw, err = base64.StdEncoding.DecodeString(text)
		v.SetString(string(raw))
	default:
		return mismatch(tree, v)
	}
	return err
}

func decodeSlice(tree any, v reflect.Value) error {
	items, ok := tree.([]any)
	if !ok {
		return mismatch(tree, v)
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		if err := decode(item, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

func decodeMap(tree any, v reflect.Value) error {
	items, ok := tree.(map[string]any)
	if !ok || v.Type().Key().Kind() != reflect.String {
		return mismatch(tree, v)
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(items)))
	for key, item := range items {
		value := reflect.New(v.Type().Elem()).Elem()
		if err := decode(item, value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), value)
	}
	return nil
}

func decodeStruct(tree any, v reflect.Value) error {
	fields, ok := tree.(map[string]any)
	if !ok {
		return mismatch(tree, v)
	}
	v.SetZero()
	for name, value := range fields {
		field := v.FieldByName(name)
		if !field.IsValid() || !field.CanSet() {
			return fmt.Errorf("%s has no field %s", v.Type(), name)
		}
		if err := decode(value, field); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func decodeInterface(tree any, v reflect.Value) error {
	wrapped, ok := tree.(map[string]any)
	if !ok || len(wrapped) != 1 {
		return mismatch(tree, v)
	}
	for name, value := range wrapped {
		t, ok := dynamicTypes[name]
		if !ok {
			return fmt.Errorf("unknown type %q", name)
		}
		inner := reflect.New(t).Elem()
		if err := decode(value, inner); err != nil {
			return err
		}
		v.Set(inner)
	}
	return nil
}
