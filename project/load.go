package project

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/consts"
	"github.com/compose-spec/compose-go/v2/errdefs"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"
)

// Load reads the compose files that the options name and resolves them: merged,
// interpolated, checked, limited to the selected services, with env_file and
// label_file read in. Bad input is an *Error.
func Load(ctx context.Context, o Options) (*Project, error) {
	in, err := prepare(o)
	if err != nil {
		return nil, err
	}
	var loaded *types.Project
	notes, err := collectWarnings(func() error {
		loaded, err = in.load(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	p := &Project{Project: loaded, positions: in.positions, files: in.filesRead()}
	p.warnings = slices.Concat(in.location.notes, in.obsolete(), notes, in.unsupported(loaded))
	return p, nil
}

// Name finds only the project's name, by the same rules as Load but without resolving the
// files: commands that need no more, and down and ps of a project whose files have become
// wrong, can do with it. A file that is no YAML is an error unless the name is given.
func Name(o Options) (string, error) {
	l, err := locate(o)
	if err != nil && o.Name == "" {
		return "", err
	}
	if l == nil {
		l = &location{env: types.Mapping{}}
	}
	in := &input{options: o, location: l, sources: &sources{}}
	if o.Name == "" && l.env[consts.ComposeProjectName] == "" {
		if in.sources, err = readAll(l, o.Stdin); err != nil {
			return "", err
		}
	}
	name, _, err := in.projectName()
	if name != "" || err != nil {
		return name, err
	}
	for _, s := range in.sources.files {
		for _, doc := range s.docs {
			if _, value := child(root(doc), "name"); value != nil {
				name = loader.NormalizeProjectName(l.expand(value.Value))
			}
		}
	}
	if name == "" {
		return "", in.translate(errNoName)
	}
	return name, nil
}

// errNoName is worded as the loader words it.
var errNoName = errors.New("project name must not be empty")

// obsolete warns of the version key, which the loader does once per process only.
func (in *input) obsolete() []string {
	var lines []string
	for _, s := range in.sources.files {
		for _, doc := range s.docs {
			if key, _ := child(root(doc), "version"); key != nil {
				e := Error{File: s.path, Line: key.Line, What: "the attribute `version` is obsolete, it will be ignored", Fix: "please remove it to avoid potential confusion"}
				lines = append(lines, e.Error())
			}
		}
	}
	return lines
}

// Model reads the compose files as Load does, but returns the merged tree of YAML
// values, with variables as they are written: what `config --no-interpolate` shows.
func Model(ctx context.Context, o Options) (map[string]any, error) {
	o.NoInterpolate = true
	in, err := prepare(o)
	if err != nil {
		return nil, err
	}
	var model map[string]any
	_, err = collectWarnings(func() error {
		model, err = in.model(ctx)
		return err
	})
	return model, err
}

// input is everything that was read before the loader proper begins.
type input struct {
	options   Options
	location  *location
	sources   *sources
	positions positions
	findings  []finding
	attached  []string // env_file and label_file of services
}

func prepare(o Options) (*input, error) {
	l, err := locate(o)
	if err != nil {
		return nil, err
	}
	all, err := readAll(l, o.Stdin)
	if err != nil {
		return nil, err
	}
	return &input{options: o, location: l, sources: all, positions: all.positions()}, nil
}

func badName(name, from string) error {
	return &Error{
		What: fmt.Sprintf("%q from %s is no project name", name, from),
		Fix:  "use lower case letters, digits, - and _, beginning with a letter or digit",
	}
}

func (in *input) details() types.ConfigDetails {
	d := types.ConfigDetails{WorkingDir: in.location.dir, Environment: in.location.env.Clone()}
	for _, s := range in.sources.files {
		d.ConfigFiles = append(d.ConfigFiles, types.ConfigFile{Filename: s.path, Content: s.content})
	}
	return d
}

// projectName applies -p > COMPOSE_PROJECT_NAME > `name:` > folder. The third is the
// loader's business: an empty name lets it look.
func (in *input) projectName() (name string, explicit bool, err error) {
	if name := in.options.Name; name != "" {
		if loader.NormalizeProjectName(name) != name {
			return "", false, badName(name, "-p")
		}
		return name, true, nil
	}
	if name := in.location.env[consts.ComposeProjectName]; name != "" {
		if loader.NormalizeProjectName(name) != name {
			return "", false, badName(name, consts.ComposeProjectName)
		}
		return name, true, nil
	}
	for _, s := range in.sources.files {
		for _, doc := range s.docs {
			if _, name := child(root(doc), "name"); name != nil && name.Value != "" {
				return "", false, nil
			}
		}
	}
	folder := filepath.Base(in.location.dir)
	if name = loader.NormalizeProjectName(folder); name == "" {
		return "", false, &Error{What: fmt.Sprintf("no project name can be made from the folder %q", folder), Fix: "give one with -p or `name:`"}
	}
	return name, false, nil
}

// tune sets the loader's options.
func (in *input) tune() (func(*loader.Options), error) {
	name, explicit, err := in.projectName()
	if err != nil {
		return nil, err
	}
	o := in.options
	return func(lo *loader.Options) {
		lo.SetProjectName(name, explicit)
		lo.SetWorkingDirExplicit(in.location.explicit)
		lo.SkipInterpolation = o.NoInterpolate
		lo.SkipNormalization = o.NoNormalize
		lo.ResolvePaths = !o.NoPathResolution
		// The consistency check here names lines and takes linear time; the loader's
		// own follows every path of the dependency graph.
		lo.SkipConsistencyCheck = true
		lo.SkipResolveEnvironment = true
		lo.SkipResolveLabels = true
		lo.Profiles = in.location.profiles
		lo.MaxNodeVisits = maxNodes
		lo.Interpolate.TypeCastMapping = in.sources.usedCasts(lo.Interpolate.TypeCastMapping)
	}, nil
}

func (in *input) model(ctx context.Context, more ...func(*loader.Options)) (map[string]any, error) {
	tune, err := in.tune()
	if err != nil {
		return nil, err
	}
	// Like docker compose's, the model is not completed from the environment: it is
	// meant to be kept, and would contain secrets.
	details := in.details()
	details.Environment = types.Mapping{}
	model, err := loader.LoadModelWithContext(ctx, details, append(more, tune)...)
	if err != nil {
		return nil, in.translate(err)
	}
	return model, nil
}

// load skips the loader's schema validation for what is certainly valid. Any error
// sends it through the validation after all, for the loader reports in its own order.
func (in *input) load(ctx context.Context) (*types.Project, error) {
	if in.certainlyValid() {
		if p, err := in.loadOnce(ctx, true); err == nil {
			return p, nil
		}
	}
	return in.loadOnce(ctx, false)
}

func (in *input) loadOnce(ctx context.Context, certain bool) (*types.Project, error) {
	tune, err := in.tune()
	if err != nil {
		return nil, err
	}
	details := in.details()
	model, err := loader.LoadModelWithContext(ctx, details, tune, func(lo *loader.Options) { lo.SkipValidation = certain })
	if err == nil && certain {
		err = checkModel(model)
	}
	if err != nil {
		return nil, in.translate(err)
	}
	in.findings = findLimitations(model)
	options := loader.ToOptions(&details, []func(*loader.Options){tune})
	if name, ok := model["name"].(string); ok && name != "" {
		options.SetProjectName(name, true)
	}
	p, err := loader.ModelToProject(model, options, details)
	if err != nil {
		return nil, in.translate(err)
	}
	if p.Name == "" {
		return nil, in.translate(errNoName)
	}
	p.ComposeFiles = slices.Clone(in.location.files)
	keepLinuxVolumes(p)
	if !in.options.NoConsistency {
		if err := in.check(p); err != nil {
			return nil, err
		}
	}
	if p, err = in.selectServices(p); err != nil {
		return nil, err
	}
	return in.resolveFiles(p)
}

// selectServices enables and keeps the chosen services and what they depend on, and
// drops the networks, volumes, configs and secrets that nobody uses.
func (in *input) selectServices(p *types.Project) (*types.Project, error) {
	if names := in.options.Services; len(names) > 0 {
		for _, name := range names {
			if _, ok := p.AllServices()[name]; !ok {
				return nil, in.noSuchService(p, name)
			}
		}
		enabled, err := p.WithServicesEnabled(names...)
		if err != nil {
			return nil, fmt.Errorf("enable services: %w", err)
		}
		if p, err = enabled.WithSelectedServices(names); err != nil {
			return nil, in.translate(err)
		}
	}
	return p.WithoutUnnecessaryResources(), nil
}

func (in *input) noSuchService(p *types.Project, name string) error {
	names := slices.Sorted(maps.Keys(p.AllServices()))
	return &Error{
		File: in.mainFile(),
		What: fmt.Sprintf("there is no service %q", name),
		Fix:  "the services are: " + strings.Join(names, ", "),
		err:  errdefs.ErrNotFound,
	}
}

func (in *input) mainFile() string { return in.location.files[0] }

// resolveFiles reads env_file and label_file into the environment and labels, one
// service after the other so that an error can name the service.
func (in *input) resolveFiles(p *types.Project) (*types.Project, error) {
	services := p.Services
	out := types.Services{}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		one := types.Project{Environment: p.Environment, Services: types.Services{name: services[name]}}
		resolved := &one
		var err error
		if !in.options.NoEnvResolution {
			for _, f := range services[name].EnvFiles {
				in.attached = append(in.attached, f.Path)
				if err := in.checkEnvFile(name, f); err != nil {
					return nil, err
				}
			}
			if resolved, err = resolved.WithServicesEnvironmentResolved(true); err != nil {
				return nil, in.serviceError(name, "env_file", err)
			}
		}
		for _, f := range services[name].LabelFiles {
			in.attached = append(in.attached, f)
			if err := checkSize(f); err != nil {
				return nil, in.serviceError(name, "label_file", err)
			}
		}
		if resolved, err = resolved.WithServicesLabelsResolved(false); err != nil {
			return nil, in.serviceError(name, "label_file", err)
		}
		out[name] = resolved.Services[name]
	}
	all := *p
	all.Services = out
	return &all, nil
}

func (in *input) checkEnvFile(service string, f types.EnvFile) error {
	err := checkSize(f.Path)
	switch {
	case err == nil || (!bool(f.Required) && errors.Is(err, fs.ErrNotExist)):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		at := in.positions.find("services", service, "env_file")
		return &Error{
			File: at.file, Line: at.line, Service: service,
			What: "its env_file " + f.Path + " does not exist",
			Fix:  "create it, or say `required: false`", err: err,
		}
	}
	return err
}

func (in *input) serviceError(service, key string, err error) error {
	at := in.positions.find("services", service, key)
	return &Error{File: at.file, Line: at.line, Service: service, What: oneLine(err.Error()), Fix: "correct " + key, err: err}
}

// collecting guards the output of logrus, which the loader writes its warnings to
// and which is the same for the whole process.
var collecting sync.Mutex

// collectWarnings runs the loader and returns what it warned about.
func collectWarnings(run func() error) ([]string, error) {
	collecting.Lock()
	defer collecting.Unlock()
	log := logrus.StandardLogger()
	out, formatter := log.Out, log.Formatter
	c := &collector{}
	log.SetOutput(c)
	log.SetFormatter(c)
	defer func() {
		log.SetOutput(out)
		log.SetFormatter(formatter)
	}()
	err := run()
	return c.lines, err
}

type collector struct {
	lines []string
}

// Format implements logrus.Formatter: it keeps the message.
func (c *collector) Format(e *logrus.Entry) ([]byte, error) {
	// The obsolete version key is warned of with its line.
	line := oneLine(e.Message)
	if !slices.Contains(c.lines, line) && !strings.Contains(line, "the attribute `version` is obsolete") {
		c.lines = append(c.lines, line)
	}
	return nil, nil
}

// Write implements io.Writer: Format has kept everything.
func (c *collector) Write(b []byte) (int, error) { return len(b), nil }
