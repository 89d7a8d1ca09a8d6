// Command mongod is a MongoDB-compatible server in one static binary: FerretDB on SQLite.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	listen := flag.String("listen", ":27017", "TCP address to serve")
	data := flag.String("dbpath", "/data/db", "directory of the SQLite files")
	ping := flag.Bool("ping", false, "only check that the server accepts connections (health check)")
	flag.Parse()

	var err error
	if *ping {
		err = check(*listen)
	} else {
		err = serve(*listen, *data)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mongod:", err)
		os.Exit(1)
	}
}

// serve answers until SIGTERM or SIGINT.
func serve(listen, data string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: listen},
		Handler:   "sqlite",
		SQLiteURL: "file:" + data + "/",
	})
	if err != nil {
		return err
	}
	fmt.Println("mongod: listening on", listen)
	return server.Run(ctx)
}

// check connects to the server on this machine.
func check(listen string) error {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", port), 2*time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}
