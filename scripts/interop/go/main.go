// Command interop lets public Go implementations of the C2SP formats meet a
// running gateway. Every subcommand prints what it found on stdout and exits 1
// when something does not hold.
package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

var commands = map[string]struct {
	usage string
	run   func(ctx context.Context, args []string) error
}{
	"read":   {"<log url> <policy file> <vkey>", readLog},
	"fsck":   {"<log url> <vkey>", fsckLog},
	"proof":  {"<log url> <policy file> <index>", proveEntry},
	"verify": {"<proof file> <policy file> <leaf hash, hexadecimal>", verifyProof},
	"note":   {"<note file> <vkey>...", openNote},
	"sign":   {"<name> <text file>", signNote},
	"log":    {"<directory> <name> <witness url> <witness vkey> <batches>", writeLog},
	"agent":  {"<socket> <database> <origin> <vkey>", serveAgent},
	"logkey": {"<directory> <name>", makeLogKey},
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]].run == nil {
		for name, command := range commands {
			fmt.Fprintf(os.Stderr, "interop %s %s\n", name, command.usage)
		}
		os.Exit(2)
	}
	// The agent runs until it is killed; everything else has a limit.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := commands[os.Args[1]].run(ctx, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func argumentsOf(args []string, least, most int) error {
	if len(args) < least || (most >= 0 && len(args) > most) {
		return fmt.Errorf("wrong number of arguments: %d", len(args))
	}
	return nil
}
