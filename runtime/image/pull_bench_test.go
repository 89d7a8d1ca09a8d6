package image

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tutti/runtime/image/imagetest"
)

// BenchmarkImagePull pulls and unpacks eight layers of 300 files from a registry on
// this host.
func BenchmarkImagePull(b *testing.B) {
	name := imagetest.StartRegistry(b, false) + "/bench:v1"
	random := rand.New(rand.NewPCG(1, 2))
	image := testImage("bench")
	for l := range 8 {
		var layer []imagetest.File
		for f := range 300 {
			body := make([]byte, 4096)
			for i := range body {
				body[i] = byte(random.Uint32() % 64)
			}
			layer = append(layer, imagetest.File{Path: fmt.Sprintf("f-%d-%d", l, f), Body: string(body)})
		}
		image.Layers = append(image.Layers, layer)
	}
	imagetest.Push(b, name, image)
	for b.Loop() {
		s := openStore(b)
		if _, err := s.Pull(b.Context(), name, PullOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
