// node scripts/kernel/build.mjs: compiles merkle.as into runtime/platform/merkle.wasm.ts, which is committed, so
// that nobody needs the compiler who does not change the kernel.
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Advice, runScript } from '../ensure.mjs';
import { ROOT } from '../install/parts.mjs';

const SOURCE = join(ROOT, 'scripts', 'kernel', 'merkle.as');
const RESULT = join(ROOT, 'runtime', 'platform', 'merkle.wasm.ts');
const COMPILER = 'assemblyscript';
/** The same version gives the same bytes; another may not. */
const VERSION = '0.28.20';
const OPTIONS = [
  ...['-O3', '--runtime', 'stub', '--noAssert', '--use', 'abort='],
  ...['--enable', 'simd', '--enable', 'bulk-memory'],
  ...['--initialMemory', '6', '--maximumMemory', '6'],
];
const LINE = 100;

async function compiler() {
  const advice = `npm install --no-save ${COMPILER}@${VERSION}`;
  try {
    const { default: asc } = await import(`${COMPILER}/asc`);
    if (asc.version === VERSION) return asc;
    throw new Advice(`the compiler has version ${asc.version}, and another gives other bytes: ${advice}`);
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Advice(`the compiler is not installed: ${advice}`);
  }
}

/** The text of runtime/platform/merkle.wasm.ts. Throws `Advice` when the compiler is absent or refuses. */
export async function compileKernel() {
  const asc = await compiler();
  let wasm;
  const { error, stderr } = await asc.main(['merkle.ts', '--outFile', 'merkle.wasm', ...OPTIONS], {
    readFile: (name) => (name === 'merkle.ts' ? readFileSync(SOURCE, 'utf8') : null),
    writeFile: (_name, contents) => {
      wasm = contents;
    },
    listFiles: () => [],
  });
  if (error) throw new Advice(`merkle.as does not compile:\n${stderr.toString()}`);
  const base64 = Buffer.from(wasm).toString('base64');
  const lines = base64.match(new RegExp(`.{1,${LINE}}`, 'g')).map((line) => `  '${line}'`);
  return `/** Made by scripts/kernel/build.mjs from scripts/kernel/merkle.as: ${wasm.length} bytes of WebAssembly, as base64. */
export const MERKLE_WASM: string =
${lines.join(' +\n')};
`;
}

const startedAsProgram = process.argv[1] && import.meta.url === pathToFileURL(resolve(process.argv[1])).href;
if (startedAsProgram) {
  await runScript(async () => {
    writeFileSync(RESULT, await compileKernel());
    return 0;
  });
}
