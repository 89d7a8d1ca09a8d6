package container

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/go-units"

	"tutti/runtime/logs/ship"
)

// Log is the container's logging: driver json-file, local (stored alike), journald and syslog (stored like local, and sent
// on), or none.
type Log struct {
	Driver   string            `json:"driver"`
	MaxSize  int64             `json:"maxSize,omitempty"` // bytes; 0: no rotation
	MaxFiles int               `json:"maxFiles,omitempty"`
	Options  map[string]string `json:"options,omitempty"` // the driver's, but for the two above
}

// SentOn says whether the driver takes the log to somewhere else as well.
func (l Log) SentOn() bool { return l.Driver == "journald" || l.Driver == "syslog" }

// logging reads the driver and its options; another driver is refused by name.
func logging(s types.ServiceConfig) (Log, error) {
	l := Log{Driver: "json-file"}
	driver, options := s.LogDriver, s.LogOpt
	if s.Logging != nil {
		driver, options = s.Logging.Driver, s.Logging.Options
	}
	l.Options = maps.Clone(options)
	switch driver {
	case "", "json-file":
	case "none":
		l.Driver = driver
	case "local", "journald", "syslog":
		l.Driver, l.MaxSize, l.MaxFiles = driver, 20<<20, 5 // docker's defaults, and those of its local copy
	default:
		return l, fmt.Errorf("logging driver %q is not supported: use json-file, local, journald, syslog or none", driver)
	}
	if l.SentOn() {
		if err := ship.Check(driver, options); err != nil {
			return l, fmt.Errorf("logging: %w", err)
		}
		_, err := ship.Tag(options["tag"], ship.Names{})
		return l, err
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if err := l.set(name, options[name]); err != nil {
			return l, fmt.Errorf("logging option %s=%s: %w", name, options[name], err)
		}
	}
	return l, nil
}

func (l *Log) set(name, value string) (err error) {
	switch name {
	case "max-size":
		delete(l.Options, name)
		if l.MaxSize, err = units.RAMInBytes(value); err == nil && l.MaxSize <= 0 && value != "-1" {
			err = fmt.Errorf("give a size like 10m")
		}
		l.MaxSize = max(l.MaxSize, 0)
	case "max-file":
		delete(l.Options, name)
		if l.MaxFiles, err = strconv.Atoi(value); err == nil && l.MaxFiles < 1 {
			err = fmt.Errorf("give a number of 1 or more")
		}
	case "mode", "max-buffer-size":
		// What a container writes is never waited for, but on a full disk: there is no other mode.
	case "compress":
		_, err = strconv.ParseBool(value)
	case "labels", "env":
	case "labels-regex", "env-regex":
		_, err = regexp.Compile(value)
	case "tag":
		_, err = ship.Tag(value, ship.Names{})
	default:
		err = fmt.Errorf("the %s driver has no such option", l.Driver)
	}
	return err
}

// names are what the option `tag` may use.
func (c *Config) names() ship.Names {
	return ship.Names{FullID: c.ID, Name: c.Name, ImageFullID: c.ImageID, ImageName: c.Image, DaemonName: "tutti"}
}

// LogAttributes are the labels and variables that the logging options ask for, and the tag where one is given: docker
// writes them into each record of a json-file.
func (c *Config) LogAttributes() map[string]string {
	attributes := map[string]string{}
	env := map[string]string{}
	for _, e := range c.Env {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	chosen(attributes, c.Labels, c.Log.Options["labels"], c.Log.Options["labels-regex"])
	chosen(attributes, env, c.Log.Options["env"], c.Log.Options["env-regex"])
	if text := c.Log.Options["tag"]; text != "" && !c.Log.SentOn() {
		if tag, err := ship.Tag(text, c.names()); err == nil { // looked at when the container was made
			attributes["tag"] = tag
		}
	}
	return attributes
}

// chosen adds what a list of names and a regular expression choose of from.
func chosen(to, from map[string]string, list, expression string) {
	for name := range strings.SplitSeq(list, ",") {
		if value, ok := from[name]; ok {
			to[name] = value
		}
	}
	if expression == "" {
		return
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		return // looked at when the container was made
	}
	for name, value := range from {
		if re.MatchString(name) {
			to[name] = value
		}
	}
}

// LogTarget is where the log is sent on to; hostname is this host's.
func (c *Config) LogTarget(hostname string) (ship.Target, error) {
	tag, err := ship.Tag(c.Log.Options["tag"], c.names())
	if err != nil {
		return ship.Target{}, err
	}
	t := ship.Target{Driver: c.Log.Driver, Options: c.Log.Options, Tag: tag, Hostname: hostname}
	if t.Driver == "journald" {
		t.Fields = map[string]string{
			"CONTAINER_ID": c.names().ID(), "CONTAINER_ID_FULL": c.ID, "CONTAINER_NAME": c.Name, "IMAGE_NAME": c.Image,
		}
		maps.Copy(t.Fields, c.LogAttributes())
	}
	return t, nil
}
