package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// The tables as litewitness makes them when they are absent; its own tool for
// adding a log cannot be built everywhere.
const schema = `
CREATE TABLE IF NOT EXISTS log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin));
`

// The root of the empty tree, RFC 6962, section 2.1.
const emptyRoot = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

// serveAgent makes a database of litewitness that knows one log, and an
// ssh-agent with one fresh key for it. Prints the fingerprint and runs on.
func serveAgent(_ context.Context, args []string) error {
	if err := argumentsOf(args, 4, 4); err != nil {
		return err
	}
	if err := addLog(args[1], args[2], args[3]); err != nil {
		return fmt.Errorf("database: %w", err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	keyring := agent.NewKeyring()
	if err := keyring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		return err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", args[0])
	if err != nil {
		return err
	}
	fmt.Println(ssh.FingerprintSHA256(key))
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			_ = agent.ServeAgent(keyring, conn)
		}()
	}
}

func addLog(path, origin, vkey string) error {
	db, err := sqlite.OpenConn(path, 0)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := sqlitex.ExecScript(db, schema); err != nil {
		return err
	}
	if err := sqlitex.Exec(db, "INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", nil, origin, emptyRoot); err != nil {
		return err
	}
	return sqlitex.Exec(db, "INSERT INTO key (origin, key) VALUES (?, ?)", nil, origin, vkey)
}
