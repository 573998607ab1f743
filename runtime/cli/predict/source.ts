/** Where the model comes from: a running gateway, the directory of one that does not run, or files. */

import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { toHex } from '../../core/encoding/base64.ts';
import type { AlarmTerms } from '../../core/learning/alarm.ts';
import { FEATURES, LABELS } from '../../core/learning/kinds.ts';
import { fromLayersModel, toLayersModel } from '../../core/learning/layers-format.ts';
import { inputCount, modelHash, parameterCount, shapeOf } from '../../core/learning/model.ts';
import { askDaemon } from '../../services/control/client.ts';
import { ADOPTION, readPresent } from '../../services/training/adoption.ts';
import type { Agreement } from '../../state/agreement/agreement.ts';
import { dataSheetSchema } from '../../state/agreement/schema.ts';
import { exists, readBounded, readBoundedBytes } from '../../state/files.ts';
import { createSection } from '../../state/journal/section.ts';
import { openStore } from '../../state/journal/store.ts';
import { modelOf, sheetOf, windowsOf } from '../../terms.ts';
import { loadSettings, loadUnsigned, socketIn } from '../settings-file.ts';
import { problem } from '../terminal/problem.ts';
import type { Calibrated, Predicting } from './judge.ts';

/** A model with what is known of it. */
export interface Source extends Predicting {
  /** Version of the federation's model; undefined for one from a file that does not say. */
  readonly version: number | undefined;
  readonly alarm: AlarmTerms | undefined;
  readonly calibrated: Calibrated | undefined;
}

export interface SourceOptions {
  readonly directory: string | undefined;
  readonly config: string | undefined;
  readonly model: string | undefined;
  readonly agreement: string | undefined;
}

const MAX_DOCUMENT = 16 * 1024 * 1024;
const MAX_WEIGHTS = 256 * 1024 * 1024;
const INPUTS = 'inputs.json';
const MODEL = 'model.json';

const finite = z.number();

const calibratedSchema = z.object({
  value: finite,
  coverage: finite.gt(0).lt(1),
  guaranteed: z.boolean(),
});

const daemonModel = z.object({
  version: z.int().min(0),
  parameters: z.array(finite),
  calibration: calibratedSchema.nullish(),
});

const inputsSchema = z.object({
  version: z.int().min(0).optional(),
  sheet: dataSheetSchema,
  windows: z.object({
    window: z.int().min(2),
    minimum: z.int().min(2),
    slopeScale: finite.positive(),
    cap: finite.positive(),
    inputs: z.array(z.string()).optional(),
    features: z.array(z.enum(FEATURES)).optional(),
    bands: z.int().min(1).optional(),
    label: z.enum(LABELS).optional(),
    horizon: z.int().min(1).optional(),
    period: finite.positive().optional(),
    maxGap: finite.positive().optional(),
  }),
  alarm: z
    .object({ horizon: finite.positive(), persistence: z.int().min(1), hysteresis: finite.min(0) })
    .optional(),
  calibrated: calibratedSchema.optional(),
});

/** @throws Problem that says what is missing and where. */
export async function openSource(options: SourceOptions): Promise<Source> {
  const { directory, config, model, agreement } = options;
  if (model !== undefined) {
    if (directory !== undefined || config !== undefined) {
      throw problem('--model is a file of its own: leave out --directory and --config', { exitCode: 2 });
    }
    return fromFiles(model, agreement);
  }
  if (config === undefined && directory === undefined) {
    throw problem('which model?', {
      todo: 'give --model DIR, or the gateway whose model it is: --directory DIR or --config FILE',
      exitCode: 2,
    });
  }
  const gateway = config === undefined ? undefined : (await loadSettings(config)).gateway;
  const home = gateway?.directory ?? resolve(directory!);
  const file = agreement ?? gateway?.agreement ?? join(home, 'agreement.toml');
  return fromGateway(home, gateway?.socket ?? socketIn(home), await loadUnsigned(file));
}

async function fromGateway(home: string, socket: string, agreement: Agreement): Promise<Source> {
  let answer: unknown;
  try {
    answer = await askDaemon(socket, 'model');
  } catch (error) {
    if ((error as Error).name !== 'NoDaemon') throw error;
    return fromDirectory(home, agreement);
  }
  const judged = daemonModel.safeParse(answer);
  if (!judged.success) throw problem(z.prettifyError(judged.error), { where: socket });
  const { version, parameters, calibration } = judged.data;
  return sourceOf(agreement, version, Float64Array.from(parameters), calibration ?? undefined);
}

/** LevelDB has one owner, so this is tried only where no daemon answers. */
async function fromDirectory(home: string, agreement: Agreement): Promise<Source> {
  const journal = join(home, 'journal');
  if (!(await exists(journal))) {
    throw problem('no gateway runs here, and there is no journal', {
      where: home,
      todo: 'is it the gateway’s directory?',
    });
  }
  const store = await openStore(journal, 'existing');
  try {
    const section = createSection(store, ADOPTION);
    const present = await readPresent(section, agreement.hash, modelOf(agreement.terms));
    if (!present) {
      throw problem('no model predicts here', {
        where: home,
        todo: 'the federation has made none yet, or this gateway has refused all: see kosmos status',
      });
    }
    return sourceOf(agreement, present.version, present.parameters, undefined);
  } finally {
    await store.close();
  }
}

function sourceOf(
  { terms }: Agreement,
  version: number,
  parameters: Float64Array,
  calibrated: Calibrated | undefined,
): Source {
  const model = modelOf(terms);
  if (parameters.length !== parameterCount(model)) {
    throw problem(
      `the model has ${parameters.length} parameters, the agreement’s has ${parameterCount(model)}`,
      { todo: 'is it the agreement that the gateway runs under?' },
    );
  }
  return { ...inputsOf(terms), model, parameters, version, calibrated };
}

function inputsOf(terms: Agreement['terms']) {
  return { sheet: sheetOf(terms), windows: windowsOf(terms), alarm: terms.prediction.alarm };
}

/** A TensorFlow.js layers model; how its inputs are made is told by `inputs.json` beside it, or by an agreement. */
async function fromFiles(path: string, agreement: string | undefined): Promise<Source> {
  const directory = (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
  const file = directory ? join(path, MODEL) : path;
  const folder = directory ? path : resolve(path, '..');
  const document = jsonIn(await readBounded(file, MAX_DOCUMENT), file);
  const weights = await readBoundedBytes(join(folder, weightsFile(document, file)), MAX_WEIGHTS);
  let loaded: ReturnType<typeof fromLayersModel>;
  try {
    loaded = fromLayersModel({ modelJson: document as object, weights });
  } catch (error) {
    throw problem((error as Error).message, { where: file, exitCode: 2, cause: error });
  }
  const { spec: model, parameters } = loaded;
  if (agreement === undefined && !(await exists(join(folder, INPUTS)))) {
    throw problem(`there is no ${INPUTS} that tells how its inputs are made`, {
      where: folder,
      todo: 'give the agreement that it was trained under: --agreement FILE',
      exitCode: 2,
    });
  }
  const inputs =
    agreement === undefined
      ? await readInputs(join(folder, INPUTS))
      : { ...inputsOf((await loadUnsigned(agreement)).terms), version: undefined, calibrated: undefined };
  return { ...inputs, model, parameters };
}

async function readInputs(path: string): Promise<Omit<Source, 'model' | 'parameters'>> {
  const judged = inputsSchema.safeParse(jsonIn(await readBounded(path, MAX_DOCUMENT), path));
  if (!judged.success) throw problem(z.prettifyError(judged.error), { where: path, exitCode: 2 });
  const { version, sheet, windows, alarm, calibrated } = judged.data;
  const { channel, condition } = sheet;
  // Keys that are absent are left out, not undefined: that is how the windows are described everywhere.
  const given = Object.fromEntries(Object.entries(windows).filter(([, value]) => value !== undefined));
  return {
    version,
    sheet: { channels: channel, conditions: condition },
    windows: given as unknown as Source['windows'],
    alarm,
    calibrated,
  };
}

/** Writes the model as TensorFlow.js layers format, with what makes its inputs. */
export async function saveSource(source: Source, directory: string): Promise<readonly string[]> {
  const { model, parameters, sheet, windows, version, alarm, calibrated } = source;
  const { modelJson, weights } = toLayersModel(model, parameters);
  await mkdir(directory, { recursive: true });
  const file = join(directory, MODEL);
  const files = [file, join(directory, weightsFile(modelJson, file)), join(directory, INPUTS)];
  const inputs = {
    version,
    shape: shapeOf(model),
    hash: toHex(modelHash(model, parameters)),
    sheet: { channel: sheet.channels, condition: sheet.conditions ?? [] },
    windows,
    alarm,
    calibrated,
  };
  await writeFile(files[0]!, `${JSON.stringify(modelJson)}\n`);
  await writeFile(files[1]!, weights);
  await writeFile(files[2]!, `${JSON.stringify(inputs, undefined, 2)}\n`);
  return files;
}

const manifest = z.object({
  weightsManifest: z.tuple([z.object({ paths: z.tuple([z.string().regex(/^[\w.-]+$/)]) })]),
});

/** Weights lie in one file beside the model. */
function weightsFile(document: unknown, path: string): string {
  const judged = manifest.safeParse(document);
  if (!judged.success) {
    throw problem('it is no TensorFlow.js layers model with one file of weights', {
      where: path,
      exitCode: 2,
    });
  }
  return judged.data.weightsManifest[0].paths[0];
}

function jsonIn(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw problem(`it is not JSON: ${(error as Error).message}`, { where: path, exitCode: 2 });
  }
}

/** Values that go into the model at once, for people. */
export function describeSource({ model, version }: Source): string {
  const which = version === undefined ? 'model' : `model ${version} of the federation`;
  return `${which}, ${shapeOf(model)}, ${inputCount(model)} inputs`;
}
