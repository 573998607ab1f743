/** Makes the demo's gateways as their operators would: keys and cards, an agreement that all sign, configurations. */
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toBase64 } from '../../core/encoding/base64.ts';
import { readAgreement, signAgreement } from '../../state/agreement/agreement.ts';
import { exists, readBounded } from '../../state/files.ts';
import { createKey } from '../../state/provenance/keys.ts';
import { settingsProblem, signaturesPath } from '../settings-file.ts';
import { draftAgreement, type MemberCard } from '../setup/draft.ts';
import { cardOf, createGateway } from '../setup/gateway.ts';
import { problem } from '../terminal/problem.ts';
import type { DemoGateway, DemoPlan } from './options.ts';

/** Marks a directory as a demo's, which alone is ever removed, and names the process that uses it. */
const MARK = 'kosmos-demo.pid';

/** Clears the directory of an earlier demo. @throws Problem when it is something else, or a demo runs in it. */
export async function clearDemoDirectory(directory: string): Promise<void> {
  if (await exists(directory)) {
    const mark = join(directory, MARK);
    if (!(await exists(mark))) {
      throw problem('this is not the directory of a demo', {
        where: directory,
        todo: 'name another --directory; it is cleared at the start',
      });
    }
    const pid = Number(await readBounded(mark, 32));
    if (isRunning(pid))
      throw problem(`a demo runs there already (pid ${pid})`, {
        where: directory,
        todo: 'name another --directory',
      });
    await rm(directory, { recursive: true, force: true });
  }
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, MARK), `${process.pid}\n`);
}

function isRunning(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

export function configPath(gateway: DemoGateway): string {
  return join(gateway.directory, 'gateway.toml');
}

/** Makes everything that the plan needs on disk. */
export async function prepareGateways(plan: DemoPlan, directory: string, broker: string): Promise<void> {
  const agreementPath = join(directory, 'agreement.toml');
  const companies = await Promise.all(
    plan.gateways.map(async (gateway) => {
      const { member, name } = gateway;
      await createGateway(gateway.directory, member, name);
      const key = await createKey(join(gateway.directory, 'keys', 'member.pem'));
      const card = await cardOf(gateway.directory, member, name, `127.0.0.1:${gateway.port}`);
      const memberCard: MemberCard = { name: member, key: toBase64(key.publicKey), gateways: [card] };
      await writeFile(
        join(gateway.directory, 'card.json'),
        `${JSON.stringify({ ...card, memberKey: memberCard.key }, null, 2)}\n`,
      );
      return { key, memberCard };
    }),
  );
  const text = draftAgreement(
    plan.terms,
    plan.sheet,
    companies.map((company) => company.memberCard),
  );
  const read = readAgreement(text, agreementPath);
  if (!read.ok) throw settingsProblem(read.faults);
  const note = companies.reduce<string | undefined>(
    (signed, { key }) => signAgreement(read.value, signed, key),
    undefined,
  );
  await writeFile(agreementPath, text);
  await writeFile(signaturesPath(agreementPath), note ?? '');
  for (const gateway of plan.gateways) {
    // One document for all, as after it has been sent round; verify finds it in each directory.
    await symlink('../agreement.toml', join(gateway.directory, 'agreement.toml'));
    await symlink('../agreement.toml.sigs', signaturesPath(join(gateway.directory, 'agreement.toml')));
    await writeFile(configPath(gateway), formatConfig(gateway, broker));
  }
}

function formatConfig(gateway: DemoGateway, broker: string): string {
  return `# Written by kosmos demo.
[gateway]
member = "${gateway.member}"
name = "${gateway.name}"
directory = "."

[journal]
commit_interval = "500ms"

[peering]
listen = "127.0.0.1:${gateway.port}"

[telemetry]
url = ${JSON.stringify(broker)}

[training]
idle = "20s"
hold_back = { adopt = ${gateway.holdBack.adopt}, calibrate = ${gateway.holdBack.calibrate} }

${gateway.machines}`;
}
