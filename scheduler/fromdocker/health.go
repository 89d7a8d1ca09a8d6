package fromdocker

import (
	"fmt"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	apicontainer "github.com/moby/moby/api/types/container"
)

// healthCheck reads what is given of a health check; what is not is the image's.
func (w *Wanted) healthCheck(given *apicontainer.HealthConfig) error {
	w.config.Healthcheck = w.wholeHealthCheck(given)
	if given == nil {
		return nil
	}
	h := &types.HealthCheckConfig{Test: given.Test}
	switch {
	case len(given.Test) == 0:
	case given.Test[0] == "NONE":
		w.Service.HealthCheck = &types.HealthCheckConfig{Disable: true}
		return nil
	case given.Test[0] != "CMD" && given.Test[0] != "CMD-SHELL":
		return inWords("Healthcheck.Test: unknown kind %q: use NONE, CMD or CMD-SHELL", given.Test[0])
	case len(given.Test) == 1:
		return inWords("Healthcheck.Test: %s without a command", given.Test[0])
	}
	for _, d := range []struct {
		name string
		from time.Duration
		to   **types.Duration
	}{
		{"Interval", given.Interval, &h.Interval},
		{"Timeout", given.Timeout, &h.Timeout},
		{"StartPeriod", given.StartPeriod, &h.StartPeriod},
		{"StartInterval", given.StartInterval, &h.StartInterval},
	} {
		if d.from != 0 && d.from < apicontainer.MinimumDuration {
			return fmt.Errorf("%s in Healthcheck cannot be less than %s", d.name, apicontainer.MinimumDuration)
		}
		if d.from != 0 {
			value := types.Duration(d.from)
			*d.to = &value
		}
	}
	if given.Retries < 0 {
		return inWords("Retries in Healthcheck cannot be negative")
	}
	if given.Retries > 0 {
		n := uint64(given.Retries)
		h.Retries = &n
	}
	w.Service.HealthCheck = h
	return nil
}

// wholeHealthCheck is the health check with what the image has of it, as inspect shows it.
func (w *Wanted) wholeHealthCheck(given *apicontainer.HealthConfig) *apicontainer.HealthConfig {
	img := w.image.Health
	if img == nil {
		return given
	}
	h := apicontainer.HealthConfig{}
	if given != nil {
		h = *given
	}
	if len(h.Test) == 0 {
		h.Test = img.Test
	}
	for _, d := range []struct{ to, from *time.Duration }{
		{&h.Interval, &img.Interval}, {&h.Timeout, &img.Timeout}, {&h.StartPeriod, &img.StartPeriod}, {&h.StartInterval, &img.StartInterval},
	} {
		if *d.to == 0 {
			*d.to = *d.from
		}
	}
	if h.Retries == 0 {
		h.Retries = img.Retries
	}
	return &h
}
