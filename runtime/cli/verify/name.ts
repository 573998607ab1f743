/** Which gateway a directory is of, by its card. */
import { join } from 'node:path';
import { z } from 'zod';
import { exists } from '../../state/files.ts';
import { readJson } from '../settings-file.ts';
import { problem } from '../terminal/problem.ts';

const cardSchema = z.object({ name: z.string() });

/** @param todo what the reader can do when there is no card. @throws Problem */
export async function gatewayNameIn(
  directory: string,
  todo = 'give the configuration: --config FILE',
): Promise<string> {
  const path = join(directory, 'card.json');
  if (!(await exists(path))) throw problem('which gateway is this?', { where: directory, todo, exitCode: 2 });
  const judged = cardSchema.safeParse(await readJson(path));
  if (!judged.success) throw problem('it names no gateway', { where: path, todo });
  return judged.data.name;
}
