/**
 * Evidence of equivocation that this gateway holds: judged before it is stored, stored before it counts, one
 * piece for each key, since more of it would add nothing. It freezes a log and takes a witness's word away.
 */
import { sha256 } from '#sha256';
import { toHex } from '../../core/encoding/base64.ts';
import {
  type Evidence,
  formatEvidence,
  judgeEvidence,
  MAX_EVIDENCE_BYTES,
  parseEvidence,
} from '../../core/log/evidence.ts';
import type { Note } from '../../core/log/note.ts';
import { formatVkey, type Vkey } from '../../core/log/vkey.ts';
import type { Journal } from '../../state/journal/journal.ts';
import type { LogParty } from './names.ts';

/** A key that has been convicted. */
export interface Conviction {
  /** Hexadecimal SHA-256 of the file. */
  readonly hash: string;
  readonly gateway: string;
  readonly member: string;
  readonly role: 'log' | 'witness';
  /** The log that there are two views of. */
  readonly origin: string;
  /** Verifier key. */
  readonly key: string;
  /** One sentence for a person. */
  readonly finding: string;
  /** The evidence file, as `kosmos verify` reads it. */
  readonly file: string;
}

export interface EvidenceBook {
  /** Reads what is stored, and writes files that are missing. */
  open(): Promise<void>;
  /**
   * Takes evidence in; it is durable when this resolves. `known` when its key has been convicted before.
   * @throws Error when it proves nothing, or not about a key of this agreement.
   */
  add(file: Uint8Array | string): Promise<'new' | 'known'>;
  convictions(): readonly Conviction[];
  /** The finding against a log, by its origin. */
  frozen(origin: string): string | undefined;
  /** Whether one of the member's witnesses has cosigned two views of a log: its cosignatures count for nothing. */
  isDisgraced(member: string): boolean;
  /** Calls `listener` after each conviction; the answer takes it off again. */
  onNew(listener: (conviction: Conviction) => void): () => void;
}

export interface EvidenceOptions {
  readonly journal: Pick<Journal, 'section' | 'write'>;
  readonly parties: readonly LogParty[];
  /** Writes a file for people to take away; called again at each start. */
  readonly save: (name: string, text: string) => Promise<void>;
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void;
}

interface Owner {
  readonly party: LogParty;
  readonly role: Conviction['role'];
  readonly accepted: boolean;
}

export function createEvidenceBook({ journal, parties, save, report }: EvidenceOptions): EvidenceBook {
  const section = journal.section('evidence');
  /** By verifier key: as many as the agreement's gateways have keys, at most. */
  const convictions = new Map<string, Conviction>();
  const listeners = new Set<(conviction: Conviction) => void>();
  let turn: Promise<unknown> = Promise.resolve();

  function ownerOf(vkey: Vkey): Owner | undefined {
    const key = formatVkey(vkey);
    for (const party of parties) {
      for (const role of ['log', 'witness'] as const) {
        const keys = role === 'log' ? party.logKeys : party.witnessKeys;
        const accepted = role === 'log' ? party.logs : party.witnesses;
        if (!keys.some((candidate) => formatVkey(candidate) === key)) continue;
        return { party, role, accepted: accepted.some(({ keyId }) => keyId === vkey.keyId) };
      }
    }
    return undefined;
  }

  function convict(evidence: Evidence, from: 'store' | 'outside'): Conviction {
    const verdict = judgeEvidence(evidence);
    if (verdict.kind === 'unproven') throw new Error(`it proves nothing: ${verdict.reason}`);
    const owner = ownerOf(evidence.vkey);
    if (!owner) throw new Error(`the key of ${evidence.vkey.name} is no key of this agreement`);
    // What somebody signs with a stolen key does not convict its owner, once the key is known to be revoked.
    if (from === 'outside' && !owner.accepted) throw new Error(`the key of ${evidence.vkey.name} is revoked`);
    const { party, role } = owner;
    const file = formatEvidence(stripped(evidence));
    const finding = role === 'log' ? verdict.finding : `${party.gateway} cosigned both: ${verdict.finding}`;
    return {
      hash: toHex(sha256(new TextEncoder().encode(file))),
      gateway: party.gateway,
      member: party.member,
      role,
      origin: verdict.origin,
      key: formatVkey(evidence.vkey),
      finding,
      file,
    };
  }

  async function take(file: Uint8Array | string): Promise<'new' | 'known'> {
    const evidence = parseEvidence(file);
    if (convictions.has(formatVkey(evidence.vkey))) return 'known';
    const conviction = convict(evidence, 'outside');
    await journal.write([section.put(keyOf(conviction), new TextEncoder().encode(conviction.file))]);
    convictions.set(conviction.key, conviction);
    report('error', `equivocation of ${conviction.gateway} (${conviction.role}): ${conviction.finding}`);
    for (const listener of listeners) listener(conviction);
    await write(conviction);
    return 'new';
  }

  async function write(conviction: Conviction): Promise<void> {
    await save(evidenceFileName(conviction), conviction.file).catch((error: Error) =>
      report('error', `the evidence against ${conviction.gateway} cannot be written: ${error.message}`),
    );
  }

  return {
    async open() {
      for await (const [key, bytes] of section.entries()) {
        try {
          const conviction = convict(parseEvidence(bytes), 'store');
          convictions.set(conviction.key, conviction);
          await write(conviction);
        } catch (error) {
          report('warn', `stored evidence ${key} is passed over: ${(error as Error).message}`);
        }
      }
    },
    add(file) {
      if (file.length > MAX_EVIDENCE_BYTES)
        return Promise.reject(new Error(`evidence of ${file.length} bytes is not read`));
      const mine = turn.then(() => take(file));
      turn = mine.catch(() => undefined);
      return mine;
    },
    convictions: () => [...convictions.values()],
    frozen: (origin) =>
      [...convictions.values()].find((one) => one.role === 'log' && one.origin === origin)?.finding,
    isDisgraced: (member) =>
      [...convictions.values()].some((one) => one.role === 'witness' && one.member === member),
    onNew(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** `<origin, as far as a file's name can hold it>-<hash>.txt` */
export function evidenceFileName({ origin, hash }: Pick<Conviction, 'origin' | 'hash'>): string {
  const slug = origin
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 100);
  return `${slug}-${hash.slice(0, 16)}.txt`;
}

/** With the accused key's signatures alone: others prove nothing, and could be added without end. */
function stripped({ vkey, smaller, larger, lines }: Evidence): Evidence {
  const only = ({ text, signatures }: Note): Note => ({
    text,
    signatures: signatures
      .filter(({ name, keyId }) => name === vkey.name && keyId === vkey.keyId)
      .slice(0, 1),
  });
  return { vkey, smaller: only(smaller), larger: only(larger), lines };
}

function keyOf({ key, role }: Conviction): string {
  return `${role}/${toHex(sha256(new TextEncoder().encode(key)))}`;
}
