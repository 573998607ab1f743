package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// openNote opens a note with golang.org/x/mod/sumdb/note; every key named must
// have signed it. Keys of cosigners go through torchwood's verifier.
func openNote(_ context.Context, args []string) error {
	if err := argumentsOf(args, 2, -1); err != nil {
		return err
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var verifiers []note.Verifier
	for _, vkey := range args[1:] {
		verifier, err := note.NewVerifier(vkey)
		if err != nil {
			cosigner, cosignerErr := torchwood.NewCosignatureVerifier(vkey)
			if cosignerErr != nil {
				return errors.Join(err, cosignerErr)
			}
			verifier = cosigner
		}
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(text, note.VerifierList(verifiers...))
	if err != nil {
		return err
	}
	if len(opened.Sigs) != len(verifiers) {
		return fmt.Errorf("%d of %d keys have signed", len(opened.Sigs), len(verifiers))
	}
	broken := strings.Replace(string(text), "\n\n", "x\n\n", 1)
	if _, err := note.Open([]byte(broken), note.VerifierList(verifiers...)); err == nil {
		return errors.New("a changed note opens as well")
	}
	names := make([]string, 0, len(opened.Sigs))
	for _, signature := range opened.Sigs {
		names = append(names, signature.Name)
	}
	fmt.Printf("signed by %s\n", strings.Join(names, ", "))
	return nil
}

// signNote signs a text with a fresh key; our code opens it.
func signNote(_ context.Context, args []string) error {
	if err := argumentsOf(args, 2, 2); err != nil {
		return err
	}
	text, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, args[0])
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return err
	}
	signed, err := note.Sign(&note.Note{Text: string(text)}, signer)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{"vkey": vkey, "note": string(signed)})
}
