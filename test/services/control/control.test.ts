import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { askDaemon, isListening } from '../../../runtime/services/control/client.ts';
import { MAX_LINE } from '../../../runtime/services/control/protocol.ts';
import { type ControlHandler, createControl } from '../../../runtime/services/control/server.ts';
import { temporaryDirectory, until } from '../consortium.ts';

const HANDLERS: Readonly<Record<string, ControlHandler>> = {
  status: async () => ({ name: 'gateway-0', numbers: [1, 2] }),
  echo: async (given) => given,
  refuse: async () => {
    throw new Error('there is no machine of that name');
  },
  hang: () => new Promise(() => {}),
};

async function daemon(t: TestContext, path?: string) {
  const socket = path ?? join(await temporaryDirectory(t), 'control.sock');
  const control = createControl(socket, HANDLERS);
  t.after(() => control.stop());
  return { socket, control };
}

/** Everything that comes back for `bytes`, until the other end closes. */
async function raw(socket: string, bytes: string, enough: (received: string) => boolean): Promise<string> {
  const connection = connect(socket);
  let received = '';
  connection.setEncoding('utf8');
  connection.on('data', (chunk: string) => {
    received += chunk;
    if (enough(received)) connection.destroy();
  });
  connection.on('error', () => {});
  connection.write(bytes);
  await once(connection, 'close');
  return received;
}

test('a command reaches the daemon with its arguments, and its answer comes back', async (t) => {
  const { socket, control } = await daemon(t);
  await control.start();
  assert.deepEqual(await askDaemon(socket, 'status'), { name: 'gateway-0', numbers: [1, 2] });
  assert.deepEqual(await askDaemon(socket, 'echo', { machine: 'press', note: 'über\n"neu"' }), {
    machine: 'press',
    note: 'über\n"neu"',
  });
});

test('owner and group may use the socket, nobody else', async (t) => {
  const { socket, control } = await daemon(t);
  await control.start();
  const { mode } = await stat(socket);
  assert.equal((mode & 0o777).toString(8), '660');
});

test('what the daemon refuses comes back in its own words', async (t) => {
  const { socket, control } = await daemon(t);
  await control.start();
  await assert.rejects(askDaemon(socket, 'refuse'), { message: 'there is no machine of that name' });
  await assert.rejects(askDaemon(socket, 'nonsense'), { message: /knows no command nonsense/ });
  await assert.rejects(askDaemon(socket, 'toString'), { message: /knows no command toString/ });
  await assert.rejects(askDaemon(socket, '__proto__'), { message: /knows no command __proto__/ });
});

test('lines that are no request are answered, and the daemon goes on', async (t) => {
  const { socket, control } = await daemon(t);
  await control.start();
  const lines = [
    'nonsense',
    '[]',
    'null',
    '{}',
    '{"command":5}',
    '{"command":"echo","arguments":7}',
    '{"command":"status"}',
  ];
  const received = await raw(
    socket,
    `${lines.join('\n')}\n`,
    (text) => text.split('\n').length > lines.length,
  );
  const answers = received
    .trim()
    .split('\n')
    .map((line): { ok: boolean } => JSON.parse(line));
  assert.deepEqual(answers.map(({ ok }) => ok).sort(), [false, false, false, false, false, false, true]);
});

test('a line beyond the limit is cut off, and the daemon goes on', async (t) => {
  const { socket, control } = await daemon(t);
  await control.start();
  assert.equal(await raw(socket, 'x'.repeat(MAX_LINE + 10), () => false), '');
  assert.deepEqual(await askDaemon(socket, 'echo', { long: 'y'.repeat(100_000) }), {
    long: 'y'.repeat(100_000),
  });
});

test('the socket of a daemon that was killed is replaced', async (t) => {
  const { socket, control } = await daemon(t);
  const program = `require('node:net').createServer().listen(${JSON.stringify(socket)}, () => console.log('up'))`;
  const killed = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(killed.stdout, 'data');
  killed.kill('SIGKILL');
  await once(killed, 'exit');
  assert.ok((await stat(socket)).isSocket(), 'it has left its socket');
  assert.equal(await isListening(socket), false);
  await assert.rejects(askDaemon(socket, 'status'), { name: 'NoDaemon' });
  await control.start();
  assert.equal((await askDaemon(socket, 'echo', {})) instanceof Object, true);
});

test('a second daemon at the same socket is refused, and the first is none the worse', async (t) => {
  const { socket, control } = await daemon(t);
  await control.start();
  const second = await daemon(t, socket);
  await assert.rejects(second.control.start(), {
    message: `another kosmos daemon answers at ${socket}; stop it first`,
  });
  await second.control.stop();
  assert.deepEqual(await askDaemon(socket, 'echo', { a: 1 }), { a: 1 });
});

test('a file that is no socket is not removed', async (t) => {
  const { socket, control } = await daemon(t);
  await writeFile(socket, 'somebody’s letters');
  await assert.rejects(control.start(), { message: /is no socket/ });
  assert.equal(await readFile(socket, 'utf8'), 'somebody’s letters');
});

test('no daemon, and a directory that is absent, are said clearly', async (t) => {
  const { socket } = await daemon(t);
  await assert.rejects(askDaemon(socket, 'status'), {
    name: 'NoDaemon',
    message: `no kosmos daemon runs at ${socket}`,
  });
  const lost = createControl(join(socket, 'nowhere', 'control.sock'), HANDLERS);
  await assert.rejects(lost.start(), { message: /cannot make the control socket/ });
});

test('a command that hangs ends at the client’s limit, and a stop does not wait for it', async (t) => {
  const { socket, control } = await daemon(t);
  await control.start();
  await assert.rejects(askDaemon(socket, 'hang', {}, 100), { message: /does not answer within 100 ms/ });
  const cut = assert.rejects(askDaemon(socket, 'hang'), { message: /closed the connection/ });
  await until(() => isListening(socket), 'it still answers others');
  await control.stop();
  await cut;
  assert.equal(await isListening(socket), false);
});
