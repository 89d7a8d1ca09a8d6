package server

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"testing"
)

// Whatever is in an error's text, clients can read it.
func TestRefuseAnswersJSON(t *testing.T) {
	t.Parallel()
	text := "file \"a\x07b\x00ü\U0001f6ab\" is missing"
	here, there := net.Pipe()
	go func() {
		refuse(there, errors.New(text))
		_ = there.Close()
	}()
	answer, err := http.ReadResponse(bufio.NewReader(here), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got struct{ Message string }
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || got.Message != text {
		t.Errorf("got %q %v, want %q", got.Message, err, text)
	}
}
