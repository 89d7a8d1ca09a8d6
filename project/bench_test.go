package project_test

import (
	"fmt"
	"strings"
	"testing"

	"tutti/project"
)

// services is a compose file of n services in chains of five on one network.
func services(n int) string {
	var b strings.Builder
	b.WriteString("services:\n")
	for i := range n {
		fmt.Fprintf(&b, "  s%03d:\n    image: busybox:1\n    command: [sleep, infinity]\n    environment: {A: \"1\", B: two}\n    labels: {x.y: z}\n    ports: [\"%d:80\"]\n    volumes: [\"data:/data\"]\n    networks: [net]\n", i, 10000+i)
		if i%5 > 0 {
			fmt.Fprintf(&b, "    depends_on: [s%03d]\n", i-1)
		}
	}
	b.WriteString("networks: {net: {}}\nvolumes: {data: {}}\n")
	return b.String()
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{20, 500} {
		text := services(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := project.Load(b.Context(), project.Options{Files: []string{"-"}, Stdin: strings.NewReader(text), Name: "x"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWire(b *testing.B) {
	p, err := project.Load(b.Context(), project.Options{Files: []string{"-"}, Stdin: strings.NewReader(services(500)), Name: "x"})
	if err != nil {
		b.Fatal(err)
	}
	encoded, err := p.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			if _, err := p.Encode(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := project.Decode(encoded); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("hash", func(b *testing.B) {
		for b.Loop() {
			p.Hash("s001")
		}
	})
}
