/**
 * Public Go implementations of the C2SP formats against three running gateways: torchwood's client, litewitness,
 * Tessera and its fsck, sumdb/note. One line a step; the exit code is 1 when one of them fails.
 */
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromHex, toHex } from '../../runtime/core/encoding/base64.ts';
import { openCheckpoint } from '../../runtime/core/log/checkpoint.ts';
import { createCosignatureVerifier } from '../../runtime/core/log/cosignature.ts';
import { leafHash } from '../../runtime/core/log/hash.ts';
import { createNoteVerifier, openNote, parseNote } from '../../runtime/core/log/note.ts';
import { evaluatePolicy, parsePolicy } from '../../runtime/core/log/policy.ts';
import { inclusionProof } from '../../runtime/core/log/proof.ts';
import { formatTilePath, hashReaderFromTiles } from '../../runtime/core/log/tiles.ts';
import { formatTlogProof, verifyTlogProof } from '../../runtime/core/log/tlog-proof.ts';
import {
  createVkey,
  ED25519_COSIGNATURE,
  ED25519_NOTE,
  formatVkey,
  parseVkey,
} from '../../runtime/core/log/vkey.ts';
import { witnessName } from '../../runtime/services/witnessing/names.ts';
import { originOf, readAgreement } from '../../runtime/state/agreement/agreement.ts';
import { type Consortium, createConsortium } from '../../test/lab/consortium.ts';
import { labPort, until } from '../../test/lab/program.ts';
import { buildTools, type Tools } from './tools.ts';

/** More than one tile of 256, and a partial one. */
const LEAST_SIZE = 300;
const WITNESS_NAME = 'litewitness.example/one';
const FOREIGN_LOG = 'tessera.example/log';

interface Party {
  readonly url: string;
  readonly logVkey: string;
  readonly witnessVkey: string;
  readonly origin: string;
}

let failures = 0;

async function step(name: string, work: () => Promise<string>): Promise<void> {
  try {
    console.log(`pass  ${name}: ${await work()}`);
  } catch (error) {
    failures += 1;
    console.log(`FAIL  ${name}: ${(error as Error).message}`);
  }
}

async function get(url: string): Promise<Uint8Array> {
  const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function getText(url: string): Promise<string> {
  return new TextDecoder().decode(await get(url));
}

/** Keys and addresses of the gateways; `[public]` is added to their configurations. */
async function makePublic(consortium: Consortium): Promise<readonly Party[]> {
  const path = join(consortium.directory, 'agreement.toml');
  const read = readAgreement(await readFile(path, 'utf8'), path);
  if (!('value' in read)) throw new Error(`${path} cannot be read`);
  const agreement = read.value;
  const parties: Party[] = [];
  for (const lab of consortium.gateways) {
    const gateway = agreement.gateways.find(({ name }) => name === lab.name)!;
    const origin = originOf(agreement, gateway);
    const { log, witness } = gateway.endorsement.publicKeys;
    const port = await labPort();
    await appendFile(lab.config, `\n[public]\nlisten = "127.0.0.1:${port}"\n`);
    parties.push({
      url: `http://127.0.0.1:${port}`,
      origin,
      logVkey: formatVkey(createVkey(origin, ED25519_NOTE, log)),
      witnessVkey: formatVkey(createVkey(witnessName(origin), ED25519_COSIGNATURE, witness)),
    });
  }
  return parties;
}

/** litewitness with a key and a database of its own; answers with its verifier key and address. */
async function startLitewitness(tools: Tools, directory: string, log: Party) {
  const socket = join(directory, 'agent.sock');
  const database = join(directory, 'litewitness.db');
  const port = await labPort();
  const [, fingerprint = ''] = await tools.start(
    'interop',
    ['agent', socket, database, log.origin, log.logVkey],
    /(SHA256:\S+)\n/,
  );
  const address = `127.0.0.1:${port}`;
  const flags = ['-name', WITNESS_NAME, '-db', database, '-ssh-agent', socket, '-key', fingerprint];
  const [, vkey = ''] = await tools.start('litewitness', [...flags, '-listen', address], /vkey="?([^"\s]+)/);
  return { url: `http://${address}`, vkey };
}

/** The log of `url` with one bit changed in what `path` matches: whoever verifies it must notice. */
async function tampered(url: string, path: RegExp, work: (url: string) => Promise<unknown>): Promise<void> {
  const proxy = createServer((request, response) => {
    const target = request.url ?? '/';
    fetch(`${url}${target}`)
      .then(async (answer) => {
        const body = Buffer.from(await answer.arrayBuffer());
        if (answer.ok && path.test(target)) body.writeUInt8(body.readUInt8(40) ^ 1, 40);
        response
          .writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
          .end(body);
      })
      .catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = proxy.address() as AddressInfo;
    const accepted = await work(`http://127.0.0.1:${port}`).then(
      () => true,
      () => false,
    );
    if (accepted) throw new Error(`a bit changed in ${path} is not noticed`);
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
}

async function run(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-interop-'));
  let tools: Tools | undefined;
  let consortium: Consortium | undefined;
  try {
    console.log('building the Go programs (some minutes the first time) ...');
    tools = await buildTools(directory);
    consortium = await createConsortium({
      gateways: 3,
      machines: 'live',
      epsilon: 'off',
      commitInterval: '20ms',
    });
    await steps(tools, consortium, directory);
  } finally {
    await consortium?.remove();
    await tools?.end();
    if (process.argv.includes('--keep')) console.log(directory);
    else await rm(directory, { recursive: true, force: true });
  }
}

async function steps(tools: Tools, consortium: Consortium, directory: string): Promise<void> {
  const parties = await makePublic(consortium);
  const [first, second] = parties as [Party, Party, Party];
  const file = (name: string) => join(directory, name);
  const litewitness = await startLitewitness(tools, directory, first);
  const foreignVkey = await tools.interop('logkey', file('tessera'), FOREIGN_LOG);
  await appendFile(
    consortium.gateways[0]!.config,
    `\n[witnessing]\nforeign_interval = "500ms"\n[[witnessing.foreign_witness]]\nurl = "${litewitness.url}"\nvkey = "${litewitness.vkey}"\n`,
  );
  await appendFile(
    consortium.gateways[1]!.config,
    `\n[witnessing]\n[[witnessing.foreign_log]]\nvkey = "${foreignVkey}"\n`,
  );
  await consortium.startAll();
  const policyText = await getText(`${first.url}/policy`);
  const policy = parsePolicy(policyText);
  await writeFile(file('policy'), policyText);
  await until(`the first log has ${LEAST_SIZE} leaves that a quorum has cosigned`, async () => {
    const response = await fetch(`${first.url}/checkpoint`);
    if (response.status !== 200) return false;
    const verdict = evaluatePolicy(policy, await response.text());
    return verdict.kind === 'satisfied' && verdict.checkpoint.size >= LEAST_SIZE;
  });

  await step('torchwood reads checkpoint, tiles and entries under our policy', () =>
    tools.interop('read', first.url, file('policy'), first.logVkey),
  );
  await step('Tessera fsck', () => tools.interop('fsck', first.url, first.logVkey));
  await step('both notice one changed bit of an entry, a tile, a checkpoint', async () => {
    for (const path of [/entries/, /tile\/0/, /checkpoint/]) {
      await tampered(first.url, path, (url) => tools.interop('fsck', url, first.logVkey));
      if (path.source === 'checkpoint' || path.source === 'entries') {
        await tampered(first.url, path, (url) => tools.interop('read', url, file('policy'), first.logVkey));
      }
    }
    return 'refused';
  });
  const cosigned = await until('litewitness has cosigned what is shown', async () => {
    const note = await getText(`${first.url}/checkpoint`);
    return parseNote(note).signatures.some(({ name }) => name === WITNESS_NAME) && note;
  }).catch(() => '');
  await step('litewitness cosigns our checkpoint, and we verify it', async () => {
    if (cosigned === '') throw new Error('no cosignature of it has come');
    const log = createNoteVerifier(parseVkey(first.logVkey));
    const witness = createCosignatureVerifier(parseVkey(litewitness.vkey));
    const { checkpoint, verified } = openCheckpoint(cosigned, log, [witness]);
    if (!verified.some(({ name }) => name === WITNESS_NAME)) throw new Error('it does not verify');
    return `size ${checkpoint.size}, ${parseNote(cosigned).signatures.length} signatures`;
  });
  await step('sumdb/note and torchwood open our note', async () => {
    await writeFile(file('note'), cosigned);
    return tools.interop(
      'note',
      file('note'),
      ...parties.map((p) => p.witnessVkey),
      first.logVkey,
      litewitness.vkey,
    );
  });
  await step('we open a note of sumdb/note', async () => {
    await writeFile(file('text'), 'a note\nwith two lines, and one more: ü\n');
    const { vkey, note } = JSON.parse(await tools.interop('sign', 'note.example/key', file('text'))) as {
      readonly vkey: string;
      readonly note: string;
    };
    const opened = openNote(note, [createNoteVerifier(parseVkey(vkey))]);
    return `${opened.note.text.length} characters, signed by ${opened.verified[0]?.name}`;
  });
  await step('a log of Tessera is witnessed by us', () =>
    tools.interop('log', file('tessera'), FOREIGN_LOG, second.url, second.witnessVkey, '5'),
  );
  await step('our newest cosigned checkpoint of that log is where tlog-witness wants it', async () => {
    const hash = toHex(
      new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(FOREIGN_LOG))),
    );
    const note = await getText(`${second.url}/witness/${hash}/checkpoint`);
    const log = createNoteVerifier(parseVkey(foreignVkey));
    const witness = createCosignatureVerifier(parseVkey(second.witnessVkey));
    const { checkpoint, verified } = openCheckpoint(note, log, [witness]);
    if (verified.length !== 2) throw new Error(`${verified.length} signatures verify instead of 2`);
    return `size ${checkpoint.size}`;
  });
  await step('torchwood writes a tlog-proof from our tiles, and we verify it', async () => {
    const { entry, proof } = JSON.parse(await tools.interop('proof', first.url, file('policy'), '77')) as {
      readonly entry: string;
      readonly proof: string;
    };
    const verdict = verifyTlogProof(proof, fromHex(entry), policy);
    if (verdict.kind !== 'proven') throw new Error(verdict.reason);
    return `entry ${verdict.index} of ${verdict.checkpoint.size}`;
  });
  await step('we write a tlog-proof, and torchwood verifies it', async () => {
    const signed = await getText(`${first.url}/checkpoint`);
    const { checkpoint } = openCheckpoint(signed, createNoteVerifier(parseVkey(first.logVkey)));
    const index = 290;
    const reader = hashReaderFromTiles(checkpoint.size, (level, tile, width) =>
      get(`${first.url}/${formatTilePath({ level, index: tile, width })}`),
    );
    const hashes = await inclusionProof(index, checkpoint.size, reader);
    await writeFile(file('proof'), formatTlogProof({ index, hashes, checkpoint: parseNote(signed) }));
    const { entry } = JSON.parse(await tools.interop('proof', first.url, file('policy'), `${index}`)) as {
      readonly entry: string;
    };
    return tools.interop('verify', file('proof'), file('policy'), toHex(leafHash(fromHex(entry))));
  });
}

await run();
process.exitCode = failures > 0 ? 1 : 0;
