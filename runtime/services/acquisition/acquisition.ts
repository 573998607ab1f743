/** Acquisition: every stream of every machine, each on its own, so that one broken sensor stops no other. */
import type { CborValue } from '../../core/encoding/cbor.ts';
import type { MaintenanceBook } from '../../state/maintenance/book.ts';
import type { Recorder } from '../../state/provenance/recorder.ts';
import type { MachineSettings, StreamSettings } from './settings.ts';
import {
  createStreamRunner,
  type SensorLike,
  type StreamRunner,
  type StreamSink,
  type StreamStatus,
} from './stream.ts';

export interface AcquisitionOptions {
  readonly machines: readonly MachineSettings[];
  readonly recorder: Recorder;
  readonly book: MaintenanceBook;
  readonly openSensor: (machine: string, stream: StreamSettings) => Promise<SensorLike>;
  /** A failure or repair has become an entry. */
  readonly onEvent: () => void;
  readonly log: (level: 'info' | 'warn', message: string) => void;
}

export interface Acquisition {
  start(): void;
  /** Resolves when the samples in hand are durable. */
  stop(): Promise<void>;
  status(): readonly StreamStatus[];
  /** Whether sources that end, recordings, have all ended. */
  settled(): boolean;
}

export function createAcquisition(options: AcquisitionOptions): Acquisition {
  const stopping = new AbortController();
  const runners: StreamRunner[] = options.machines.flatMap((machine) =>
    machine.stream.map((stream) =>
      createStreamRunner(
        machine.id,
        stream,
        () => options.openSensor(machine.id, stream),
        sinkFor(options, machine.id, stream),
        options.log,
      ),
    ),
  );
  const endless = options.machines.flatMap((machine) =>
    machine.stream.map((stream) => stream.intervalMs > 0),
  );
  let running: Promise<unknown> | undefined;
  return {
    start() {
      running = Promise.all(runners.map((runner) => runner.run(stopping.signal)));
    },
    async stop() {
      stopping.abort();
      await running;
    },
    status: () => runners.map((runner) => runner.status()),
    settled: () => runners.every((runner, index) => endless[index] || runner.status().state === 'ended'),
  };
}

function sinkFor(options: AcquisitionOptions, machine: string, stream: StreamSettings): StreamSink {
  const { recorder, book } = options;
  const samples = recorder.stream(machine, stream.name, {
    signing: stream.signing,
    whenFull: stream.whenFull,
  });
  return {
    sample: (values, time) => samples.sample({ values, ...(time === undefined ? {} : { time }) }),
    async event(event, sequence) {
      await book.record({
        machine,
        faults: [],
        type: event === 'failure' ? 'failure' : 'maintenance',
        note: event === 'failure' ? 'reported by the machine' : 'running again',
        at: { stream: stream.name, incarnation: recorder.incarnation, sequence },
      });
      options.onEvent();
    },
    async gap(reason, since, missed) {
      await recorder.entry('gap', [machine, stream.name, since, missed, reason.slice(0, 500)]);
    },
    async declare(channels) {
      const rows = channels.map((channel): CborValue => [channel.name, channel.unit]);
      await recorder.entry('stream', [machine, stream.name, stream.intervalMs, rows]);
    },
  };
}
