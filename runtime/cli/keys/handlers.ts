/** What a running daemon does for `kosmos keys`. */
import { z } from 'zod';
import { tryBase64 } from '../../core/encoding/base64.ts';
import type { ControlHandler } from '../../services/control/server.ts';
import type { Enrolment, Roster } from '../../state/provenance/roster.ts';
import { keyRows } from './view.ts';

const statementRequest = z.strictObject({ statement: z.string().min(1).max(8192) });

/** `keys` lists what the roster knows; `statement` takes one statement in, as base64. */
export function keysHandlers(
  enrolment: Enrolment,
  roster: Roster,
): Readonly<Record<'keys' | 'statement', ControlHandler>> {
  return {
    keys: async () => ({ keys: keyRows(enrolment, roster) }),
    statement: async (given) => {
      const judged = statementRequest.safeParse(given);
      const bytes = judged.success ? tryBase64(judged.data.statement) : undefined;
      if (!bytes) throw new Error('a statement is base64');
      return { outcome: await roster.add(bytes) };
    },
  };
}
