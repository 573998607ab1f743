/** A gateway's whole configuration: the parts that the rooms declare, put together. */
import { z } from 'zod';
import { catalogue } from '../drivers/catalogue.ts';
import { machineSettings } from './services/acquisition/settings.ts';
import { peeringSettings } from './services/peering/settings.ts';
import { telemetrySettings } from './services/telemetry/settings.ts';
import { trainingSettings } from './services/training/settings.ts';
import { mirrorSettings } from './services/witnessing/mirror-settings.ts';
import { publicSettings, witnessingSettings } from './services/witnessing/settings.ts';
import { journalSettings } from './state/journal/settings.ts';
import { duration, filePath, name } from './state/settings/units.ts';

const gateway = z.object({
  member: name().describe('the company this gateway belongs to, as in the agreement'),
  name: name().describe('this gateway, as in the agreement'),
  directory: filePath().describe('where keys and journal are kept; made by kosmos init'),
  agreement: filePath().optional().describe('the agreement; <directory>/agreement.toml when absent'),
  socket: filePath().optional().describe('control socket; <directory>/control.sock when absent'),
});

const simulation = z
  .object({
    seed: z.int().min(0).describe('equal seeds make equal plants'),
    machines: z.int().min(1).max(1000).describe('simulated machines, on the buses sim:0, sim:1 and so on'),
    cycle: duration({ least: '10ms', most: '1h' }).describe('how long a machine’s cycle takes'),
    start: z
      .number()
      .optional()
      .describe('when cycle 0 began, milliseconds since 1970; when the daemon starts if absent'),
  })
  .describe('machines that exist in software, for trying out');

/** Whether a driver's settings name a bus `sim:N` or a contact of the chip `sim`. */
function usesSimulation(settings: unknown): boolean {
  if (typeof settings !== 'object' || settings === null) return false;
  const bus = 'bus' in settings && typeof settings.bus === 'string' && settings.bus.startsWith('sim:');
  const contact = 'contact' in settings ? settings.contact : undefined;
  const line = typeof contact === 'object' && contact !== null && 'chip' in contact && contact.chip === 'sim';
  return bus || line;
}

/** The configuration file of `kosmos run`. */
export const gatewaySettings = z
  .object({
    gateway,
    journal: journalSettings,
    peering: peeringSettings,
    telemetry: telemetrySettings.prefault({}),
    training: trainingSettings.prefault({}),
    public: publicSettings.prefault({}),
    witnessing: witnessingSettings.prefault({}),
    mirror: mirrorSettings,
    simulation: simulation.optional(),
    machine: z
      .array(machineSettings(Object.values(catalogue)))
      .max(10_000)
      .default([]),
  })
  .superRefine((settings, context) => {
    const publishes = settings.telemetry.url !== undefined || settings.telemetry.embedded !== undefined;
    for (const [index, machine] of settings.machine.entries()) {
      for (const [inner, stream] of machine.stream.entries()) {
        if (stream.whenFull === 'drop-published' && !publishes) {
          context.addIssue({
            code: 'custom',
            path: ['machine', index, 'stream', inner, 'whenFull'],
            message:
              'nothing is ever published without telemetry, so a full journal would stop this stream for good: ' +
              'give [telemetry] a url, add [telemetry.embedded], or write "drop-oldest" or "stop"',
          });
        }
        if (settings.simulation || !usesSimulation(stream.settings)) continue;
        context.addIssue({
          code: 'custom',
          path: ['machine', index, 'stream', inner, 'settings'],
          message: 'a simulated bus or contact needs a [simulation] table',
        });
      }
    }
    const seen = new Set<string>();
    for (const [index, machine] of settings.machine.entries()) {
      if (seen.has(machine.id)) {
        context.addIssue({
          code: 'custom',
          path: ['machine', index, 'id'],
          message: `${machine.id} stands there twice`,
        });
      }
      seen.add(machine.id);
    }
  });

export type GatewaySettings = z.output<typeof gatewaySettings>;
