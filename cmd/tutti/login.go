package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	dockerconfig "github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/moby/moby/api/types/registry"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tutti/scheduler/api"
)

// hubServer is Docker Hub's name in docker's configuration.
const hubServer = "https://index.docker.io/v1/"

type loginFlags struct {
	user, password string
	passwordStdin  bool
}

func (a *app) loginCommand() *cobra.Command {
	var f loginFlags
	cmd := &cobra.Command{
		Use:   "login [OPTIONS] [SERVER]",
		Short: "Authenticate to a registry",
		Long:  "Authenticate to a registry. Without a server it is Docker Hub.\nThe credentials are kept where docker keeps them: in config.json, or with the helper that it names.",
		Args:  cobra.MaximumNArgs(1),
		RunE: a.run(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("password") {
				a.warn("Using --password via the CLI is insecure. Use --password-stdin.")
				if f.passwordStdin {
					return errors.New("--password and --password-stdin are mutually exclusive")
				}
			}
			return a.login(ctx, serverName(args), &f)
		}),
	}
	cmd.Flags().StringVarP(&f.user, "username", "u", "", "Username")
	cmd.Flags().StringVarP(&f.password, "password", "p", "", "Password or Personal Access Token (PAT)")
	cmd.Flags().BoolVar(&f.passwordStdin, "password-stdin", false, "Take the Password or Personal Access Token (PAT) from stdin")
	return cmd
}

// serverName is a registry as docker's configuration names it: the host alone, but for Docker Hub.
func serverName(args []string) string {
	if len(args) == 0 || args[0] == "" {
		return hubServer
	}
	s := args[0]
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		s = u.Host
	}
	s = strings.TrimSuffix(s, "/")
	switch s {
	case "docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return hubServer
	}
	return s
}

func (a *app) login(ctx context.Context, server string, f *loginFlags) error {
	config, err := dockerconfig.Load(a.dockerConfig())
	if err != nil {
		return fmt.Errorf("read docker's configuration: %w", err)
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	if f.user == "" && f.password == "" && !f.passwordStdin {
		known, err := config.GetAuthConfig(server)
		if err == nil && (known.Username != "" || known.IdentityToken != "") {
			fmt.Fprintf(a.out, "Authenticating with existing credentials... [Username: %s]\n", known.Username)
			if _, err := checkLogin(ctx, c, server, known); err == nil {
				fmt.Fprintln(a.out, "Login Succeeded")
				return nil
			}
		}
	}
	credentials, err := a.askCredentials(f)
	if err != nil {
		return err
	}
	credentials.ServerAddress = server
	identity, err := checkLogin(ctx, c, server, credentials)
	if err != nil {
		return err
	}
	if identity != "" { // the password is needed no more
		credentials.Password, credentials.IdentityToken = "", identity
	}
	if err := keepCredentials(config, credentials); err != nil {
		return err
	}
	fmt.Fprintln(a.out, "Login Succeeded")
	return nil
}

// checkLogin has the engine ask the registry, which may give an identity token to use from now on.
func checkLogin(ctx context.Context, c *api.Client, server string, k types.AuthConfig) (identity string, err error) {
	var answer registry.AuthResponse
	err = c.Call(ctx, http.MethodPost, "/auth", registry.AuthConfig{
		Username: k.Username, Password: k.Password, IdentityToken: k.IdentityToken, ServerAddress: server,
	}, &answer)
	return answer.IdentityToken, err
}

func keepCredentials(config *configfile.ConfigFile, k types.AuthConfig) error {
	if err := config.GetCredentialsStore(k.ServerAddress).Store(k); err != nil {
		return fmt.Errorf("keep the credentials: %w", err)
	}
	return nil
}

// askCredentials takes user and password from the flags, the standard input or the terminal.
func (a *app) askCredentials(f *loginFlags) (k types.AuthConfig, err error) {
	k.Username, k.Password = f.user, f.password
	if f.passwordStdin {
		if f.user == "" {
			return k, errors.New("must provide --username with --password-stdin")
		}
		text, err := io.ReadAll(io.LimitReader(a.in, 1<<20))
		k.Password = strings.TrimRight(string(text), "\r\n")
		return k, err
	}
	fd, tty := terminal(a.in)
	if !tty && (k.Username == "" || k.Password == "") {
		return k, errors.New("cannot perform an interactive login from a non TTY device: give --username and --password-stdin")
	}
	if k.Username == "" {
		fmt.Fprint(a.out, "Username: ")
		line, err := bufio.NewReader(a.in).ReadString('\n')
		if k.Username = strings.TrimSpace(line); k.Username == "" {
			return k, errors.Join(errors.New("username is required"), err)
		}
	}
	if k.Password == "" {
		fmt.Fprint(a.out, "Password: ")
		secret, err := term.ReadPassword(fd)
		fmt.Fprintln(a.out)
		if k.Password = string(secret); k.Password == "" {
			return k, errors.Join(errors.New("password is required"), err)
		}
	}
	return k, nil
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout [SERVER]",
		Short: "Log out from a registry",
		Long:  "Log out from a registry. Without a server it is Docker Hub.",
		Args:  cobra.MaximumNArgs(1),
		RunE: a.run(func(_ context.Context, _ *cobra.Command, args []string) error {
			server := serverName(args)
			config, err := dockerconfig.Load(a.dockerConfig())
			if err != nil {
				return fmt.Errorf("read docker's configuration: %w", err)
			}
			k, err := config.GetAuthConfig(server)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("credentials for %s: %w", server, err)
			}
			if k.Username == "" && k.IdentityToken == "" {
				fmt.Fprintln(a.out, "Not logged in to", server)
				return nil
			}
			fmt.Fprintln(a.out, "Removing login credentials for", server)
			if err := config.GetCredentialsStore(server).Erase(server); err != nil {
				return fmt.Errorf("remove the credentials: %w", err)
			}
			return nil
		}),
	}
}
