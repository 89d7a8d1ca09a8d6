package volumes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkCreate is a volume with its two folders and its file on the disk.
func BenchmarkCreate(b *testing.B) {
	s := open(b)
	i := 0
	for b.Loop() {
		if _, _, err := s.Create(Spec{Name: fmt.Sprint("vol", i)}); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkStart is what each start of a container with one volume in use costs.
func BenchmarkStart(b *testing.B) {
	s := open(b)
	v := create(b, s, "vol")
	write(b, filepath.Join(v.Path, "file"), "")
	layers := []string{b.TempDir(), b.TempDir()}
	wanted := []Mount{{Type: TypeVolume, Source: "vol", Target: "/data"}}
	for b.Loop() {
		if err := s.Fill(b.Context(), wanted, layers); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Mounts(b.Context(), wanted); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPopulate is the first use of a volume.
func BenchmarkPopulate(b *testing.B) {
	for _, files := range []int{0, 1, 1000} {
		b.Run(fmt.Sprint(files, "_files"), func(b *testing.B) {
			s := open(b)
			layers := []string{b.TempDir()}
			for i := range 5 {
				layers = append(layers, b.TempDir())
				if err := os.Mkdir(filepath.Join(layers[i], "data"), 0o755); err != nil {
					b.Fatal(err)
				}
			}
			for i := range files {
				write(b, filepath.Join(layers[3], fmt.Sprintf("data/%d/%d", i%20, i)), strings.Repeat("x", 4000))
			}
			i := 0
			for b.Loop() {
				b.StopTimer()
				v := create(b, s, fmt.Sprint("vol", i))
				i++
				b.StartTimer()
				if err := s.PopulateLayers(b.Context(), v, layers, "/data"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
