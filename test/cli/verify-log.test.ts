import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { verifyRemote } from '../../runtime/cli/verify/remote.ts';
import { trustAgreement, trustPolicy } from '../../runtime/cli/verify/trust.ts';
import { createEvidence, formatEvidence, planEvidence } from '../../runtime/core/log/evidence.ts';
import { leafHash } from '../../runtime/core/log/hash.ts';
import { formatPolicy, parsePolicy } from '../../runtime/core/log/policy.ts';
import { readerOf, readProofSync } from '../../runtime/core/log/proof.ts';
import { formatVkey } from '../../runtime/core/log/vkey.ts';
import { logParties, policyOf } from '../../runtime/services/witnessing/names.ts';
import { grown, publicGateway } from '../services/witnessing/public-gateway.ts';
import { createPlant, kosmosHere, type Plant, succeeded } from './plant.ts';
import { leavesOf, noteOf, serveLog } from './served-log.ts';

const quiet = { since: undefined, progress: () => undefined };

const logKeyOf = ({ agreement }: Plant, number = 0) => logParties(agreement)[number]!.logKeys[0]!;

test('a log of every shape is read as a whole: its leaves, tiles and root', async (t) => {
  const plant = await createPlant(t);
  const log = await serveLog(t);
  for (const size of [0, 1, 255, 256, 257, 1000, 66_000]) {
    const leaves = leavesOf(size);
    log.show(leaves, noteOf(plant, leaves));
    const report = await succeeded('verify', log.url, '--agreement', plant.agreementFile);
    assert.deepEqual([report.kind, report.size, report.leaves], ['log', size, size]);
  }
  assert.ok(log.most() <= 8, `${log.most()} requests at a time`);
});

test('by an agreement, by a policy, by the log’s key alone, and by nobody’s word', async (t) => {
  const plant = await createPlant(t);
  const log = await serveLog(t);
  const leaves = leavesOf(300);
  log.show(leaves, noteOf(plant, leaves, [0]));
  const policy = plant.path('policy');
  await writeFile(policy, formatPolicy(policyOf(logParties(plant.agreement))));
  for (const by of [
    ['--agreement', plant.agreementFile],
    ['--policy', policy],
  ]) {
    const { code, stderr } = await kosmosHere('verify', log.url, ...by);
    assert.equal(code, 1);
    assert.match(stderr, /quorum is not reached: cosigned by "plant\/acme\/acme-1\/witness"/);
  }
  const alone = await kosmosHere('verify', log.url, '--vkey', formatVkey(logKeyOf(plant)));
  assert.equal(alone.code, 0, alone.stderr);
  assert.match(alone.stdout, /by the log's own key alone: no witness was asked for/);
  const other = await kosmosHere('verify', log.url, '--vkey', formatVkey(logKeyOf(plant, 1)));
  assert.equal(other.code, 1);
  assert.match(other.stderr, /no accepted log signed/);
  for (const [args, named] of [
    [[], /by whose word\?/],
    [['--vkey', 'x'], /malformed verifier key/],
    [['--print', '--vkey', 'x'], /--print does not go with a log/],
  ] as const) {
    const wrong = await kosmosHere('verify', log.url, ...args);
    assert.equal(wrong.code, 2, wrong.stderr);
    assert.match(wrong.stderr, named);
  }
});

test('whatever a server changes is noticed and named', async (t) => {
  const plant = await createPlant(t);
  const log = await serveLog(t);
  const leaves = leavesOf(700);
  log.show(leaves, noteOf(plant, leaves));
  const flip = (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, at) => (at === 8 ? byte ^ 1 : byte));
  const cases: readonly (readonly [string, (bytes: Uint8Array) => Uint8Array, RegExp])[] = [
    ['checkpoint', flip, /checkpoint/],
    ['checkpoint', () => new Uint8Array(600_000), /the answer has more than 524288 bytes/],
    ['tile/0/001', flip, /tile\/0\/001: it is not made of the leaves below it/],
    ['tile/0/002.p/188', flip, /tile\/0\/002\.p\/188: it is not made of the leaves/],
    ['tile/1/000.p/2', flip, /tile\/1\/000\.p\/2: it is not made of the tiles/],
    ['tile/1/000.p/2', (bytes) => bytes.subarray(0, 32), /tile\/1\/000\.p\/2: 32 bytes instead of 64/],
    ['tile/0/000', (bytes) => Uint8Array.of(...bytes, 0), /the answer has more than 8192 bytes/],
    ['tile/entries/001', flip, /tile\/0\/001: it is not made of the leaves/],
    ['tile/entries/001', (bytes) => bytes.subarray(0, -1), /tile\/entries\/001: malformed bundle/],
    ['tile/entries/000', () => new Uint8Array(20_000_000), /the answer has more than 16777472 bytes/],
  ];
  for (const [path, change, named] of cases) {
    log.change((asked, response, usual) => {
      if (asked !== path) return false;
      response.end(change(usual!));
      return true;
    });
    const { code, stdout, stderr } = await kosmosHere('verify', log.url, '--agreement', plant.agreementFile);
    assert.equal(code, 1, `${path}: ${stdout}`);
    assert.match(stderr, named);
  }
});

test('a busy server is asked again, a silent one is given up, a wrong one is named', async (t) => {
  const plant = await createPlant(t);
  const log = await serveLog(t);
  const leaves = leavesOf(300);
  log.show(leaves, noteOf(plant, leaves));
  const trust = trustAgreement(plant.agreement, []);
  const busy = new Map<string, number>();
  log.change((path, response) => {
    const times = (busy.get(path) ?? 0) + 1;
    busy.set(path, times);
    if (times > 2) return false;
    response.writeHead(times === 1 ? 429 : 503, { 'retry-after': '1' }).end('later\n');
    return true;
  });
  const { report } = await verifyRemote(log.url, { trust, ...quiet, client: { maxWaitMs: 1 } });
  assert.equal(report.leaves, 300);
  log.change((path) => path === 'tile/0/000');
  await assert.rejects(
    verifyRemote(log.url, { trust, ...quiet, client: { limitMs: 100, tries: 2, maxWaitMs: 1 } }),
    /no answer after 2 tries: no answer within 100 ms/,
  );
  log.change((path, response, usual) => {
    if (path !== 'tile/0/000') return false;
    // One byte, then nothing for ever.
    response.write(usual!.subarray(0, 1));
    return true;
  });
  await assert.rejects(
    verifyRemote(log.url, { trust, ...quiet, client: { limitMs: 100, tries: 1 } }),
    /no answer after 1 tries/,
  );
  log.change(undefined);
  const wrong = await kosmosHere('verify', `${log.url}nowhere`, '--agreement', plant.agreementFile);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /nowhere\/checkpoint: the answer has status 404\n {2}is that the URL of a log/);
});

test('--since: growth is proven from any size, and the new checkpoint is kept for next time', async (t) => {
  const plant = await createPlant(t);
  const log = await serveLog(t);
  const kept = plant.path('checkpoint');
  const by = ['--agreement', plant.agreementFile, '--output', kept];
  let since: readonly string[] = [];
  for (const size of [0, 3, 256, 300, 300, 700]) {
    const leaves = leavesOf(size);
    log.show(leaves, noteOf(plant, leaves));
    await succeeded('verify', log.url, ...by, ...since);
    assert.equal(await readFile(kept, 'utf8'), noteOf(plant, leaves));
    since = ['--since', kept];
  }
  const leaves = leavesOf(699);
  log.show(leaves, noteOf(plant, leaves));
  const behind = await kosmosHere('verify', log.url, ...by, ...since);
  assert.equal(behind.code, 1);
  assert.match(behind.stderr, /shows 699 leaves and has shown 700 before/);
  const other = await createPlant(t, 'other');
  await writeFile(kept, noteOf(other, leaves));
  const foreign = await kosmosHere('verify', log.url, ...by, ...since);
  assert.match(foreign.stderr, /the older checkpoint is of other\/acme\/acme-1/);
  await writeFile(kept, noteOf(await createPlant(t), leaves));
  const forged = await kosmosHere('verify', log.url, ...by, ...since);
  assert.match(forged.stderr, /the older checkpoint: the log plant\/acme\/acme-1 has not signed it/);
});

test('--since: a contradiction becomes a file of evidence, which verify judges', async (t) => {
  const plant = await createPlant(t);
  const log = await serveLog(t);
  const by = ['--agreement', plant.agreementFile];
  for (const [before, after] of [
    [300, 300],
    [3, 700],
    [256, 700],
  ] as const) {
    const since = plant.path(`since-${before}`);
    // Nobody but the log itself had seen this view.
    await writeFile(since, noteOf(plant, leavesOf(before, ' as shown to one'), []));
    const leaves = leavesOf(after, ' as shown to others');
    log.show(leaves, noteOf(plant, leaves));
    const { code, stderr } = await kosmosHere('verify', log.url, ...by, '--since', since);
    assert.equal(code, 1);
    assert.match(stderr, /equivocation of plant\/acme\/acme-1: size \d+ contradicts size \d+/);
    const report = await succeeded('verify', `${since}.evidence`, ...by);
    assert.deepEqual(
      [report.kind, report.sizes, report.owner],
      ['evidence', [before, after], 'log key of acme-1 of acme'],
    );
  }
});

test('evidence: whose key it is, by an agreement or a policy; what is changed in it is refused', async (t) => {
  const plant = await createPlant(t);
  const [a, b] = [leavesOf(5, ' a'), leavesOf(9, ' b')];
  const lines = readProofSync(planEvidence(5, 9), readerOf(b.map(leafHash)));
  const evidence = formatEvidence(
    createEvidence(logKeyOf(plant), [noteOf(plant, a), noteOf(plant, b)], lines),
  );
  const file = plant.path('evidence');
  await writeFile(file, evidence);
  const bare = await kosmosHere('verify', file);
  assert.equal(bare.code, 0, bare.stderr);
  assert.match(bare.stdout, /whose key that is, an agreement says/);
  const policy = plant.path('policy');
  await writeFile(policy, formatPolicy(policyOf(logParties(plant.agreement))));
  assert.equal((await succeeded('verify', file, '--policy', policy)).owner, 'log plant/acme/acme-1');
  const stranger = await createPlant(t);
  const nobody = await kosmosHere('verify', file, '--agreement', stranger.agreementFile);
  assert.equal(nobody.code, 1);
  assert.match(
    nobody.stderr,
    /evidence: plant\/acme\/acme-1 \(key [0-9a-f]{8}\) is no key of the agreement's gateways/,
  );
  const cases: readonly (readonly [string, RegExp])[] = [
    [
      evidence.replace('\n9\n', '\n8\n'),
      /evidence: "plant\/acme\/acme-1" has not signed the checkpoint of the larger tree/,
    ],
    [
      evidence
        .split('\n')
        .filter((_, at) => at !== 2)
        .join('\n'),
      /evidence: /,
    ],
    [formatEvidence({ vkey: logKeyOf(plant), lines: [], ...both(evidence) }), /evidence: /],
    [evidence.slice(0, -2), /evidence: malformed/],
  ];
  for (const [changed, named] of cases) {
    await writeFile(file, changed);
    const { code, stderr } = await kosmosHere('verify', file);
    assert.equal(code, 1, stderr);
    assert.match(stderr, named);
  }
});

function both(evidence: string) {
  const [, ...parts] = evidence.split('\n\n');
  const noteFrom = (text: string, lines: string) => ({
    text: `${text}\n`,
    signatures: lines
      .trimEnd()
      .split('\n')
      .map((line) => {
        const [, name, data] = line.split(' ');
        const bytes = Buffer.from(data!, 'base64');
        return { name: name!, keyId: bytes.readUInt32BE(0), signature: new Uint8Array(bytes.subarray(4)) };
      }),
  });
  return { smaller: noteFrom(parts[0]!, parts[1]!), larger: noteFrom(parts[2]!, parts[3]!) };
}

test('a gateway’s own public listener: its log verifies as it grows', async (t) => {
  const gateway = await publicGateway(t);
  await grown(gateway, 300);
  const policy = await (await fetch(`${gateway.url}/policy`)).text();
  const trust = trustPolicy(parsePolicy(policy));
  const first = await verifyRemote(gateway.url, { trust, ...quiet });
  assert.equal(first.report.size, 300);
  await grown(gateway, 520);
  const since = new TextEncoder().encode(first.note);
  const second = await verifyRemote(gateway.url, { trust, since, progress: () => undefined });
  assert.deepEqual([second.report.size, second.report.since], [520, 300]);
});
