// npm run demo -- [options]: the main job on this machine, from a fresh clone with Node and nothing else.
import { runKosmos } from './run.mjs';

await runKosmos(['demo', ...process.argv.slice(2)]);
