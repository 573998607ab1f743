package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"filippo.io/torchwood"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

const keyFile = "log.key"

// makeLogKey makes the key of a log of Tessera's and prints its vkey.
func makeLogKey(_ context.Context, args []string) error {
	if err := argumentsOf(args, 2, 2); err != nil {
		return err
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, args[1])
	if err != nil {
		return err
	}
	if err := os.MkdirAll(args[0], 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(args[0], keyFile), []byte(skey), 0o600); err != nil {
		return err
	}
	fmt.Println(vkey)
	return nil
}

// writeLog makes a Tessera log on disk that publishes a checkpoint only when
// our witness has cosigned it, and lets it grow in batches.
func writeLog(ctx context.Context, args []string) error {
	if err := argumentsOf(args, 5, 5); err != nil {
		return err
	}
	batches, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	skey, err := os.ReadFile(filepath.Join(args[0], keyFile))
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(string(skey))
	if err != nil {
		return err
	}
	root, err := url.Parse(args[2])
	if err != nil {
		return err
	}
	witness, err := tessera.NewWitness(args[3], root)
	if err != nil {
		return err
	}
	cosigner, err := torchwood.NewCosignatureVerifier(args[3])
	if err != nil {
		return err
	}
	driver, err := posix.New(ctx, posix.Config{Path: filepath.Join(args[0], "log")})
	if err != nil {
		return err
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(200*time.Millisecond).
		WithBatching(256, 50*time.Millisecond).
		WithWitnesses(tessera.NewWitnessGroup(1, witness), &tessera.WitnessOptions{Timeout: 5 * time.Second}))
	if err != nil {
		return err
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 100*time.Millisecond)
	cosigned := 0
	for batch := range batches {
		var last tessera.IndexFuture
		for entry := range 100 {
			last = appender.Add(ctx, tessera.NewEntry(fmt.Appendf(nil, "batch %d, entry %d", batch, entry)))
		}
		_, checkpoint, err := awaiter.Await(ctx, last)
		if err != nil {
			return fmt.Errorf("batch %d: no cosigned checkpoint: %w", batch, err)
		}
		opened, err := note.Open(checkpoint, note.VerifierList(cosigner))
		if err != nil {
			return fmt.Errorf("batch %d: %w", batch, err)
		}
		if _, err := torchwood.CosignatureTimestamp(opened.Sigs[0]); err != nil {
			return err
		}
		cosigned++
	}
	if cosigned == 0 {
		return errors.New("no checkpoint was cosigned")
	}
	if err := shutdown(ctx); err != nil {
		return err
	}
	fmt.Printf("%d checkpoints of a Tessera log, %d entries, cosigned\n", cosigned, 100*batches)
	return nil
}
