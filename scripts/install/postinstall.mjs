// Runs after every npm install: names the parts that are absent. It never fails the install.
import { describeMissing, probeParts } from './parts.mjs';

// ensure.mjs builds what npm held back and then tells the same itself.
if (process.env.KOSMOS_INSTALLING !== '1') {
  try {
    for (const line of describeMissing(await probeParts())) console.error(`kosmos: ${line}`);
  } catch (error) {
    console.error(`kosmos: the optional parts could not be checked: ${error.message}`);
  }
}
