import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createNotifier } from '../../../runtime/services/health/notify.ts';
import { temporaryDirectory, until } from '../consortium.ts';

const missing = ['systemd-notify', 'python3'].filter(
  (program) => spawnSync(program, ['--version']).error !== undefined,
);
const skip = missing.length > 0 && `needs ${missing.join(' and ')} (Debian: apt-get install systemd python3)`;

/** The other end of NOTIFY_SOCKET, which Node cannot open: a datagram socket of the Unix kind. */
const LISTENER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('up', flush=True)
while True:
    print(s.recv(4096).decode().replace('\\n', ' '), flush=True)
`;

async function systemd(t: TestContext) {
  const path = join(await temporaryDirectory(t), 'notify.sock');
  const listener = spawn('python3', ['-c', LISTENER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => listener.kill('SIGKILL'));
  let heard = '';
  listener.stdout.setEncoding('utf8').on('data', (text: string) => {
    heard += text;
  });
  await once(listener.stdout, 'data');
  return { path, count: (state: string) => heard.split(state).length - 1 };
}

function notifierOf(
  t: TestContext,
  env: Readonly<Record<string, string>>,
  progress: () => number,
  hasSources = true,
) {
  const logged: string[] = [];
  const notifier = createNotifier({
    env: { PATH: process.env.PATH, ...env },
    progress,
    hasSources,
    log: (level, message) => void logged.push(`${level} ${message}`),
  });
  t.after(() => notifier.stop());
  return { notifier, logged };
}

test('ready and alive follow progress: none is told before an entry is durable, and none when entries stop', {
  skip,
}, async (t) => {
  const { path, count } = await systemd(t);
  let entries = 5;
  const env = { NOTIFY_SOCKET: path, WATCHDOG_USEC: '200000' };
  const { notifier } = notifierOf(t, env, () => entries);
  notifier.start();
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.deepEqual([count('READY=1'), count('WATCHDOG=1')], [0, 0], 'nothing has moved');
  entries += 1;
  await until(() => count('READY=1') === 1, 'ready is told');
  entries += 1;
  await until(() => count('WATCHDOG=1') >= 1, 'alive is told');
  // What was started before the entries stopped may still arrive.
  await new Promise((resolve) => setTimeout(resolve, 300));
  const before = count('WATCHDOG=1');
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(count('WATCHDOG=1'), before, 'no sign of life without progress');
  notifier.stop();
  await until(() => count('STOPPING=1') === 1, 'the stop is told');
});

test('a gateway without machines is ready at once', { skip }, async (t) => {
  const { path, count } = await systemd(t);
  const { notifier } = notifierOf(t, { NOTIFY_SOCKET: path }, () => 0, false);
  notifier.start();
  await until(() => count('READY=1') === 1, 'ready is told');
});

test('without systemd nothing is started', async (t) => {
  const { notifier, logged } = notifierOf(t, {}, () => 1, false);
  notifier.start();
  notifier.stop();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(logged, []);
});

test('a systemd-notify that is absent is logged and ends nothing', async (t) => {
  const { notifier, logged } = notifierOf(
    t,
    { NOTIFY_SOCKET: '/nowhere', PATH: '/nonexistent' },
    () => 1,
    false,
  );
  notifier.start();
  await until(() => logged.some((line) => line.includes('systemd-notify READY=1 failed')), 'it is said');
});
