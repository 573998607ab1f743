/** Hands out entries with all that somebody who was not there needs to check them. */
import { join, resolve } from 'node:path';
import { toHex } from '../core/encoding/base64.ts';
import { equalBytes } from '../core/encoding/cbor.ts';
import { decodeExport } from '../core/log/export.ts';
import { isListening } from '../services/control/client.ts';
import { replaceFile } from '../state/files.ts';
import { openStore } from '../state/journal/store.ts';
import { readStatements, statementsPath } from '../state/provenance/statements-file.ts';
import { exportFromDaemon } from './export/ask.ts';
import { tlogProofOf } from './export/block-proof.ts';
import { buildExport, type ExportSummary } from './export/build.ts';
import { agreementFiles } from './export/handlers.ts';
import { type Selection, selectionFrom } from './export/selection.ts';
import { readerOverStore } from './export/sources.ts';
import { storedStatements } from './export/statements.ts';
import { loadAgreement, loadSettings, socketIn } from './settings-file.ts';
import { daemonOptions } from './status.ts';
import { defineCommand } from './terminal/command.ts';
import { count, bytes as inBytes } from './terminal/human.ts';
import { printJson } from './terminal/io.ts';
import { problem } from './terminal/problem.ts';
import { createScreen } from './terminal/screen.ts';
import { gatewayNameIn } from './verify/name.ts';
import { trustAgreement } from './verify/trust.ts';

const FORMATS = ['bundle', 'tlog-proof'] as const;

/** Where the entries come from. */
interface Source {
  readonly directory: string;
  readonly socket: string;
  readonly agreement: string;
  /** Undefined when card.json has to say it. */
  readonly gateway: string | undefined;
}

type Built = { readonly bytes: Uint8Array; readonly summary: ExportSummary };
type Progress = (done: number, of: number, entries: number) => void;

export const exportCommand = defineCommand({
  name: 'export',
  summary: 'hand out samples and maintenance entries with what proves them',
  about:
    'What is chosen goes into one file with its proofs, a checkpoint that a quorum of members has cosigned, and the ' +
    'agreement: kosmos verify FILE checks it without anything else. A range of time takes in all samples of it; ' +
    '--machine adds the machine’s maintenance entries, opened. Without --to it ends with what is final. A format ' +
    'tlog-proof is one sample for the common tools of transparency logs; its leaf goes into FILE.leaf.',
  options: {
    output: { kind: 'text', value: 'FILE', required: true, about: 'the file to write' },
    ...daemonOptions,
    machine: { kind: 'text', value: 'ID', about: 'samples and maintenance entries of one machine' },
    stream: { kind: 'text', value: 'NAME', about: 'samples of one stream' },
    from: { kind: 'text', value: 'TIME', about: 'from this time on (ISO 8601)' },
    to: { kind: 'text', value: 'TIME', about: 'before this time (ISO 8601)' },
    sample: { kind: 'text', value: 'MACHINE/STREAM/INCARNATION/SEQUENCE', about: 'one sample' },
    maintenance: {
      kind: 'flag',
      about: 'maintenance entries, opened, of every machine or the one that is named',
    },
    format: { kind: 'text', value: 'FORMAT', choices: FORMATS, default: 'bundle', about: 'what to write' },
    agreement: {
      kind: 'text',
      value: 'FILE',
      about: 'the agreement; that of the configuration or DIR/agreement.toml when absent',
    },
  },
  examples: [
    'export --directory /var/lib/kosmos --machine press-1 --from 2026-03-01T00:00Z --to 2026-03-02T00:00Z --output march-1.kosmos',
    'export --directory /var/lib/kosmos --sample press-1/monitor/0/1234 --format tlog-proof --output sample.tlog-proof',
  ],
  async run({ options, json }, io) {
    const alone = options.format === 'tlog-proof';
    const selection = selectionFrom(options, alone);
    const source = await sourceOf(options);
    const screen = createScreen(io.stderr);
    const progress: Progress = (done, of, entries) => {
      const line = `looking through block ${count(done)} of ${count(of)}: ${count(entries)} entries`;
      screen.draw({ lines: [line], summary: line });
    };
    const { bytes, summary } = await ((await isListening(source.socket))
      ? fromDaemon(source, options.agreement, selection, progress)
      : fromDirectory(source, selection, progress)
    ).finally(() => screen.close());
    const output = resolve(options.output);
    const files = alone ? tlogProofOf(decodeExport(bytes)) : undefined;
    await replaceFile(output, files?.file ?? bytes);
    if (files) await replaceFile(`${output}.leaf`, files.leaf);
    for (const warning of summary.warnings) io.stderr.write(`kosmos export: WARNING: ${warning}\n`);
    if (json) printJson(io, { output, format: options.format, ...summary });
    else io.stdout.write(`${describe(output, summary).join('\n')}\n`);
    return 0;
  },
});

async function sourceOf(options: {
  readonly directory?: string | undefined;
  readonly config?: string | undefined;
  readonly agreement?: string | undefined;
}): Promise<Source> {
  if (options.config !== undefined) {
    const { gateway } = await loadSettings(options.config);
    const { directory, socket, name } = gateway;
    return { directory, socket: socket!, agreement: options.agreement ?? gateway.agreement!, gateway: name };
  }
  if (options.directory === undefined)
    throw problem('which gateway?', { todo: 'give --directory DIR or --config FILE', exitCode: 2 });
  const directory = resolve(options.directory);
  const agreement = options.agreement ?? join(directory, 'agreement.toml');
  return { directory, socket: socketIn(directory), agreement, gateway: undefined };
}

/** The daemon uses the agreement in force; one that was named must be the same. */
async function fromDaemon(
  { socket }: Source,
  named: string | undefined,
  selection: Selection,
  progress: Progress,
): Promise<Built> {
  const expected = named === undefined ? undefined : await loadAgreement(named);
  const built = await exportFromDaemon(socket, selection, progress);
  if (expected) {
    const { document } = decodeExport(built.bytes);
    const { document: mine } = await agreementFiles(named!, expected);
    if (!document || !equalBytes(document, mine)) {
      throw problem(`the daemon runs under another agreement than sha256 ${toHex(expected.hash)}`, {
        where: named!,
      });
    }
  }
  return built;
}

async function fromDirectory(source: Source, selection: Selection, progress: Progress): Promise<Built> {
  const { directory } = source;
  const agreement = await loadAgreement(source.agreement);
  const gateway = source.gateway ?? (await gatewayNameIn(directory));
  const files = await agreementFiles(source.agreement, agreement);
  const store = await openStore(join(directory, 'journal'), 'existing');
  try {
    const statements = await storedStatements(
      store,
      agreement,
      await readStatements(statementsPath(directory)),
    );
    return await buildExport({
      reader: await readerOverStore(store),
      trust: trustAgreement(agreement, statements),
      ...files,
      gateway,
      selection,
      progress,
    });
  } finally {
    await store.close();
  }
}

function describe(output: string, summary: ExportSummary): readonly string[] {
  const { samples, declarations, maintenance, blocks, bytes, size, cosigned, from, to, machines } = summary;
  return [
    `${output}: ${count(samples)} samples, ${count(maintenance)} maintenance entries, ${count(declarations)} declarations of streams, out of ${count(blocks)} blocks; a bundle of ${inBytes(bytes)}`,
    ...(machines.length > 0 ? [`machines: ${machines.join(', ')}`] : []),
    ...(from !== null && to !== null ? [`samples from ${from} to ${to}`] : []),
    `log ${summary.origin}, checkpoint of size ${count(size)}${summary.final ? '' : ', NOT FINAL'}, cosigned by ${cosigned.map(({ witness }) => witness).join(', ') || 'too few'}`,
    `check it with: kosmos verify ${output}`,
  ];
}
