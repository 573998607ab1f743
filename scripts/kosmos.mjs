// npm run kosmos -- COMMAND [options]: any command of kosmos from a clone.
import { runKosmos } from './run.mjs';

await runKosmos(process.argv.slice(2));
