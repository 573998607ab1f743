/**
 * The agreement: one TOML document, and beside it the signatures of all members over its hash, as a C2SP
 * signed note. What it says is checked once here and trusted inside.
 */
import type { Signer } from '#ed25519';
import { sha256 } from '#sha256';
import { toBase64, tryBase64 } from '../../core/encoding/base64.ts';
import { equalBytes } from '../../core/encoding/cbor.ts';
import {
  addSignatures,
  createNoteSigner,
  createNoteVerifier,
  formatNote,
  judgeNote,
  parseNote,
  signNote,
} from '../../core/log/note.ts';
import { createVkey, ED25519_NOTE } from '../../core/log/vkey.ts';
import { type Endorsement, openEndorsement } from '../provenance/endorsement.ts';
import { checkPublicKey } from '../provenance/keys.ts';
import { type Fault, readSettings } from '../settings/read.ts';
import { type AgreementTerms, agreementSchema } from './schema.ts';

/** One gateway that the agreement names, its keys checked. */
export interface GatewayOf {
  readonly member: string;
  readonly name: string;
  /** Where its peers reach it; absent, as is `port`, when it only dials out. */
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly identity: Uint8Array;
  readonly endorsement: Endorsement;
}

export interface Member {
  readonly name: string;
  readonly publicKey: Uint8Array;
  readonly gateways: readonly GatewayOf[];
}

export interface Agreement {
  readonly terms: AgreementTerms;
  /** SHA-256 of the document's bytes. */
  readonly hash: Uint8Array;
  readonly members: readonly Member[];
  /** All members' gateways, in the document's order. */
  readonly gateways: readonly GatewayOf[];
}

export type Read<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly faults: readonly Fault[] };

/** Reads and judges a document, signatures left out. Every fault is reported at once, with its line where it has one. */
export function readAgreement(text: string, file: string): Read<Agreement> {
  const judged = readSettings(text, file, agreementSchema);
  if (!judged.ok) return judged;
  const terms = judged.value;
  const faults: Fault[] = [];
  const fault = (path: string, message: string) =>
    faults.push({ file, line: 1, column: 1, path, message, allowed: '' });
  const members = terms.member.map((member, index): Member => {
    const gateways = member.gateway.flatMap((gateway, inner) => {
      try {
        return [gatewayFrom(member.name, gateway)];
      } catch (error) {
        fault(`member[${index}].gateway[${inner}]`, (error as Error).message);
        return [];
      }
    });
    const publicKey = bytesOf(member.key);
    try {
      checkPublicKey(publicKey, `key of member ${member.name}`);
    } catch (error) {
      fault(`member[${index}].key`, (error as Error).message);
    }
    return { name: member.name, publicKey, gateways };
  });
  const gateways = members.flatMap((member) => member.gateways);
  for (const twice of repeated(members.map((member) => member.name)))
    fault('member', `${twice} stands there twice`);
  for (const twice of repeated(gateways.map((gateway) => gateway.name))) {
    fault('member.gateway', `${twice} stands there twice`);
  }
  for (const twice of repeated(members.flatMap(keysOf).map(toBase64))) {
    fault('member', `key ${twice} stands there twice: each key has one owner and one purpose`);
  }
  if (faults.length > 0) return { ok: false, faults };
  return { ok: true, value: { terms, hash: sha256(new TextEncoder().encode(text)), members, gateways } };
}

function gatewayFrom(member: string, card: AgreementTerms['member'][number]['gateway'][number]): GatewayOf {
  const identity = bytesOf(card.identity);
  const endorsement = openEndorsement(bytesOf(card.endorsement), identity);
  if (endorsement.member !== member || endorsement.gateway !== card.name) {
    throw new Error(
      `the endorsement is for gateway ${endorsement.gateway} of ${endorsement.member}, not for ${card.name} of ${member}`,
    );
  }
  return {
    member,
    name: card.name,
    host: card.address?.host,
    port: card.address?.port,
    identity,
    endorsement,
  };
}

/** All keys that a member brings: one that another could also call its own would let the two be confused. */
function keysOf({ publicKey, gateways }: Member): readonly Uint8Array[] {
  return [
    publicKey,
    ...gateways.flatMap((gateway) => [gateway.identity, ...Object.values(gateway.endorsement.publicKeys)]),
  ];
}

function repeated(names: readonly string[]): readonly string[] {
  return names.filter((name, index) => names.indexOf(name) !== index);
}

/** The text that the members sign. */
function noteText(agreement: Agreement): string {
  const { consortium, epoch } = agreement.terms;
  return `kosmos/agreement/v1\n${consortium}\n${epoch}\n${toBase64(agreement.hash)}\n`;
}

function signerName(agreement: Agreement, member: string): string {
  return `${agreement.terms.consortium}/${member}`;
}

/**
 * Adds a member's signature. `signatures` is the note so far, or undefined for none.
 * @throws Error when the key is not one of the agreement's members', or the note is for another document.
 */
export function signAgreement(agreement: Agreement, signatures: string | undefined, key: Signer): string {
  const member = agreement.members.find((candidate) => equalBytes(candidate.publicKey, key.publicKey));
  if (!member) throw new Error('this key belongs to no member of the agreement');
  const text = noteText(agreement);
  const mine = signNote(text, [createNoteSigner(signerName(agreement, member.name), key)]);
  if (signatures === undefined) return formatNote(mine);
  const before = parseNote(signatures);
  if (before.text !== text) {
    throw new Error('the signatures are for another document; begin a new file of signatures');
  }
  return formatNote(addSignatures(before, mine.signatures));
}

/** The members whose signature is missing. @throws Error when a signature is wrong or for another document. */
export function unsignedBy(agreement: Agreement, signatures: string): readonly string[] {
  const note = parseNote(signatures);
  if (note.text !== noteText(agreement))
    throw new Error('the signatures are for another document than this agreement');
  const verifiers = agreement.members.map((member) =>
    createNoteVerifier(createVkey(signerName(agreement, member.name), ED25519_NOTE, member.publicKey)),
  );
  const verdict = judgeNote(note, verifiers);
  if (verdict.kind === 'forged') throw new Error(`the signature of ${verdict.name} is wrong`);
  const signed = new Set(
    verdict.kind === 'verified' ? verdict.verified.map((signature) => signature.name) : [],
  );
  return agreement.members
    .map((member) => member.name)
    .filter((name) => !signed.has(signerName(agreement, name)));
}

/** Base64 whose form the schema has judged already; an odd rest becomes no bytes, which no key has. */
function bytesOf(text: string): Uint8Array {
  return tryBase64(text) ?? new Uint8Array(0);
}

/** How a gateway's log is called in its checkpoints. */
export function originOf(agreement: Agreement, gateway: GatewayOf): string {
  return `${agreement.terms.consortium}/${gateway.member}/${gateway.name}`;
}
