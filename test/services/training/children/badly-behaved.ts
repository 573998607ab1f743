/** A training process that does what its job's first feature says, so that its parent can be tested. */
import type { ParentMessage } from '../../../../runtime/services/training/messages.ts';

const hoard: Buffer[] = [];
let what: number | undefined;

process.on('disconnect', () => process.exit(0));
process.on('message', (message: ParentMessage) => {
  if (message.kind === 'features' && message.offset === 0) [what] = message.values;
  if (message.kind !== 'train') return;
  const { id, job } = message;
  if (what === 1) process.exit(7);
  if (what === 2) process.kill(process.pid, 'SIGSEGV');
  if (what === 3) throw new Error('out of luck');
  if (what === 4) while (true);
  if (what === 5) while (true) hoard.push(Buffer.alloc(2 ** 20, 1));
  if (what === 6) {
    const parameters = job.parameters.map(() => Number.NaN);
    process.send?.({
      kind: 'result',
      id,
      result: { parameters, steps: job.steps, losses: new Float64Array(0) },
    });
  }
});
process.send?.({ kind: 'ready', name: 'none', backend: 'nothing' });
