package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"filippo.io/torchwood"
	formats "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type openedLog struct {
	client     *torchwood.Client
	checkpoint torchwood.Checkpoint
	note       *note.Note
	signed     []byte
}

// openLog reads a log's newest checkpoint with torchwood's HTTP client and
// verifies it against a tlog-policy file.
func openLog(ctx context.Context, url, policyFile string) (*openedLog, error) {
	fail := func(err error) (*openedLog, error) {
		return nil, err
	}
	fetcher, err := torchwood.NewTileFetcher(url, torchwood.WithUserAgent("kosmos-interop interop@kosmos.example"))
	if err != nil {
		return fail(err)
	}
	client, err := torchwood.NewClient(fetcher)
	if err != nil {
		return fail(err)
	}
	text, err := os.ReadFile(policyFile)
	if err != nil {
		return fail(err)
	}
	policy, err := torchwood.ParsePolicy(text)
	if err != nil {
		return fail(fmt.Errorf("torchwood does not read the policy: %w", err))
	}
	signed, err := fetcher.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return fail(err)
	}
	checkpoint, opened, err := torchwood.VerifyCheckpoint(signed, policy)
	if err != nil {
		return fail(fmt.Errorf("torchwood does not accept the checkpoint: %w\n%s", err, signed))
	}
	return &openedLog{client, checkpoint, opened, signed}, nil
}

// readLog reads every entry, which torchwood checks against the tree, and sums
// the leaves up once more with transparency-dev/merkle.
func readLog(ctx context.Context, args []string) error {
	if err := argumentsOf(args, 3, 3); err != nil {
		return err
	}
	log, err := openLog(ctx, args[0], args[1])
	if err != nil {
		return err
	}
	client, checkpoint, opened := log.client, log.checkpoint, log.note
	if verifier, err := note.NewVerifier(args[2]); err != nil || verifier.Name() != checkpoint.Origin {
		return fmt.Errorf("the origin %q is not the name of %s (%v)", checkpoint.Origin, args[2], err)
	}
	sum := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	next := int64(0)
	for index, entry := range client.AllEntries(ctx, checkpoint.Tree, 0) {
		if index != next {
			return fmt.Errorf("entry %d comes where %d should", index, next)
		}
		if err := sum.Append(rfc6962.DefaultHasher.HashLeaf(entry), nil); err != nil {
			return err
		}
		next++
	}
	if err := client.Err(); err != nil {
		return err
	}
	if next != checkpoint.N {
		return fmt.Errorf("%d entries of %d came", next, checkpoint.N)
	}
	root, err := sum.GetRootHash(nil)
	if err != nil {
		return err
	}
	if tlog.Hash(root) != checkpoint.Hash {
		return fmt.Errorf("the entries sum up to %x, the checkpoint says %x", root, checkpoint.Hash[:])
	}
	cosigners := 0
	for _, signature := range opened.Sigs {
		if signature.Name != checkpoint.Origin {
			cosigners++
		}
	}
	fmt.Printf("%d entries, %d cosignatures\n", next, cosigners)
	return nil
}

// proveEntry has torchwood write a tlog-proof from our tiles; our code checks it.
func proveEntry(ctx context.Context, args []string) error {
	if err := argumentsOf(args, 3, 3); err != nil {
		return err
	}
	index, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	log, err := openLog(ctx, args[0], args[1])
	if err != nil {
		return err
	}
	entry, proof, err := log.client.Entry(ctx, log.checkpoint.Tree, index)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"entry": hex.EncodeToString(entry),
		"proof": string(torchwood.FormatProof(index, proof, log.signed)),
	})
}

// verifyProof checks a tlog-proof file that somebody else has written.
func verifyProof(_ context.Context, args []string) error {
	if err := argumentsOf(args, 3, 3); err != nil {
		return err
	}
	proof, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	text, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	policy, err := torchwood.ParsePolicy(text)
	if err != nil {
		return err
	}
	hash, err := hex.DecodeString(args[2])
	if err != nil || len(hash) != tlog.HashSize {
		return errors.New("a leaf hash has 32 bytes")
	}
	if err := torchwood.VerifyProof(policy, tlog.Hash(hash), proof); err != nil {
		return err
	}
	other := tlog.Hash(hash)
	other[0] ^= 1
	if torchwood.VerifyProof(policy, other, proof) == nil {
		return errors.New("the proof proves another leaf as well")
	}
	var read formats.TLogProof
	if err := read.Unmarshal(proof); err != nil {
		return fmt.Errorf("transparency-dev/formats: %w", err)
	}
	if !bytes.Equal(read.Marshal(), proof) {
		return errors.New("transparency-dev/formats writes the proof in another form")
	}
	fmt.Printf("%d bytes of tlog-proof verify, and not for another leaf; transparency-dev/formats writes the same\n", len(proof))
	return nil
}
