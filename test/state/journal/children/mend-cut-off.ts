// Opens a damaged journal, and dies as soon as what is damaged has been set aside and before that is told.
import { openMended } from '../../../../runtime/state/journal/mend.ts';

const [directory] = process.argv.slice(2) as [string];
await openMended(directory, 2_000_000_000, () => {
  process.kill(process.pid, 'SIGKILL');
  return new Promise(() => {});
});
