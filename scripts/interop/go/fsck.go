package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
)

// fsckLog runs Tessera's fsck: every entry bundle is hashed again, every tile
// is rebuilt from them and compared, and the root with the checkpoint's.
func fsckLog(ctx context.Context, args []string) error {
	if err := argumentsOf(args, 2, 2); err != nil {
		return err
	}
	base, err := url.Parse(args[0])
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(args[1])
	if err != nil {
		return err
	}
	fetcher, err := client.NewHTTPFetcher(base, http.DefaultClient)
	if err != nil {
		return err
	}
	check := fsck.New(verifier.Name(), verifier, fetcher, leafHashes, fsck.Opts{N: 2})
	if err := check.Check(ctx); err != nil {
		return err
	}
	status := check.Status()
	fmt.Printf("%d bytes fetched, %d resources, no fault\n", status.BytesFetched, status.ResourcesFetched)
	return nil
}

func leafHashes(bundle []byte) ([][]byte, error) {
	var entries api.EntryBundle
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, fmt.Errorf("entry bundle: %w", err)
	}
	hashes := make([][]byte, 0, len(entries.Entries))
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}
