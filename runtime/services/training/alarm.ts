/**
 * Alarms of machines that run. An alarm makes one fault entry in the maintenance book, in the same batch as the record
 * that it stands, so that neither a crash nor a restart makes a second one.
 */
import { decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { fieldsOf, safeInteger } from '../../core/encoding/fields.ts';
import { type AlarmRule, type AlarmState, checkAlarm, QUIET, stepAlarm } from '../../core/learning/alarm.ts';
import type { Section } from '../../state/journal/section.ts';
import type { Write } from '../../state/journal/store.ts';
import type { MaintenanceFields } from '../../state/maintenance/entry.ts';

export interface AlarmsOptions {
  readonly rule: AlarmRule;
  readonly section: Section;
  readonly write: (writes: readonly Write[]) => Promise<void>;
  /** Makes a maintenance entry and the records that belong to it durable, in one. */
  readonly record: (
    fields: Omit<MaintenanceFields, 'previous'>,
    writes: readonly Write[],
  ) => Promise<Uint8Array>;
  readonly log: (level: 'info' | 'warn' | 'error', message: string) => void;
}

/** What a run shows, and where it stands. */
export interface Look {
  readonly machine: string;
  /** Times of the run's first and last row, milliseconds since 1970. */
  readonly began: number;
  readonly time: number;
  /** Levels of the rows since the last look, oldest first. */
  readonly levels: readonly number[];
  /** Whether these follow the ones of the last look; else counting begins anew. */
  readonly follows: boolean;
  /** For the fault entry. */
  readonly note: string;
}

export interface Alarms {
  readonly rule: AlarmRule;
  look(seen: Look): void;
  /** The machine stands still: its alarm has had its answer. */
  stood(machine: string): void;
  /** Time of the row at which the alarm was raised that stands now. */
  since(machine: string): number | undefined;
  /** Resolves when everything that was begun is durable or has failed. */
  settled(): Promise<void>;
}

interface Standing extends AlarmState {
  readonly since: number | undefined;
}

const NONE: Standing = { ...QUIET, since: undefined };
const MOST_NOTE = 4_000;

/** @throws DecodeError or DamagedRecord when what is kept is damaged. */
export async function openAlarms(options: AlarmsOptions): Promise<Alarms> {
  const { rule, section, log } = options;
  checkAlarm(rule);
  const machines = new Map<string, Standing>();
  for await (const [machine, value] of section.entries()) {
    machines.set(machine, { on: true, reasons: rule.persistence, since: decodeSince(value) });
  }
  let turn: Promise<unknown> = Promise.resolve();

  function inTurn(machine: string, work: () => Promise<unknown>, failed: () => void): void {
    turn = turn.then(work).catch((error: Error) => {
      failed();
      log('error', `the alarm of ${machine} could not be kept, it is tried again: ${error.message}`);
    });
  }

  function raise({ machine, time, note }: Look): void {
    const fields = {
      machine,
      faults: [],
      type: 'fault',
      note: note.slice(0, MOST_NOTE),
      at: undefined,
    } as const;
    inTurn(
      machine,
      async () => {
        await options.record(fields, [section.put(machine, encodeSince(time))]);
        log('warn', `alarm of ${machine}: ${note}`);
      },
      () => machines.set(machine, NONE),
    );
  }

  function end(machine: string, why: string): void {
    inTurn(
      machine,
      async () => {
        await options.write([section.del(machine)]);
        log('info', `the alarm of ${machine} has ended: ${why}`);
      },
      // Taken back where the record stands: it would be there again after a restart.
      () => undefined,
    );
  }

  return {
    rule,
    look(seen) {
      const { machine, began, time, levels, follows } = seen;
      let state = machines.get(machine) ?? NONE;
      // The row that raised it is not of this run any more: somebody has repaired the machine.
      if (state.since !== undefined && state.since < began) {
        end(machine, 'it was repaired');
        state = NONE;
      }
      if (!follows && !state.on) state = NONE;
      for (const level of levels) {
        const step = stepAlarm(rule, state, level);
        if (step.event === 'raised') raise(seen);
        if (step.event === 'ended') end(machine, 'the model sees no reason for it any more');
        state = {
          ...step.state,
          since: step.event === 'raised' ? time : step.state.on ? state.since : undefined,
        };
      }
      machines.set(machine, state);
    },
    stood(machine) {
      if (machines.get(machine)?.on) end(machine, 'the machine stands still');
      machines.delete(machine);
    },
    since: (machine) => machines.get(machine)?.since,
    settled: async () => void (await turn),
  };
}

function encodeSince(time: number): Uint8Array {
  return encodeCbor([Math.max(0, Math.floor(time))]);
}

function decodeSince(bytes: Uint8Array): number {
  return safeInteger(fieldsOf(decodeCbor(bytes), 1, 'alarm')[0], 'alarm: time');
}
