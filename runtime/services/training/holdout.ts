/**
 * Which machines teach and which judge. A machine's role is drawn once with a secret of this gateway, kept durably, and
 * never changed: what has trained would judge too kindly, and what judged has had its say in which model is used.
 */
import { randomBytes } from '#random';
import { sha256 } from '#sha256';
import { decodeCbor, encodeCbor } from '../../core/encoding/cbor.ts';
import { safeInteger } from '../../core/encoding/fields.ts';
import type { Section } from '../../state/journal/section.ts';
import type { Write } from '../../state/journal/store.ts';

/** train: it is learned from; adopt: it judges new models; calibrate: it says how wide intervals have to be. */
export const ROLES = ['train', 'adopt', 'calibrate'] as const;
export type Role = (typeof ROLES)[number];

/** Parts of the machines that are held back. */
export interface HoldBack {
  readonly adopt: number;
  readonly calibrate: number;
}

export interface HoldoutOptions {
  readonly section: Section;
  readonly write: (writes: readonly Write[]) => Promise<void>;
  readonly holdBack: HoldBack;
  /** Whether a model has been trained here already: then the machines that are there first have trained. */
  readonly trained: boolean;
}

export interface Holdout {
  /** Gives those that have none their role, durably; of several at once by lot. */
  admit(machines: Iterable<string>): Promise<void>;
  /** Undefined for a machine that was not admitted yet: it neither teaches nor judges. */
  roleOf(machine: string): Role | undefined;
  trains(machine: string): boolean;
  counts(): Readonly<Record<Role, number>>;
  /** Why no machine is held back, where none is. */
  why(): string | undefined;
  /** A number in [0, 1) that nobody outside knows, the same every time for the same name. */
  lot(name: string): number;
}

/** With fewer there would be too little left to learn from. */
export const FEWEST = 4;
const MOST_HELD_BACK = 0.8;
const SECRET = 'secret';
const ROLE = 'role/';

/**
 * @throws RangeError for parts that are impossible; DecodeError or DamagedRecord when what is kept is damaged: roles
 *   that were drawn again could mix who teaches with who judges.
 */
export async function openHoldout({ section, write, holdBack, trained }: HoldoutOptions): Promise<Holdout> {
  checkHoldBack(holdBack);
  const roles = new Map<string, Role>();
  for await (const [key, value] of section.entries({ prefix: ROLE })) {
    roles.set(key.slice(ROLE.length), decodeRole(value));
  }
  const stored = await section.get(SECRET);
  if (!stored && roles.size > 0) throw new Error('the roles of machines are kept, and the secret is not');
  const secret = stored ?? randomBytes(32);
  if (!stored) await write([section.put(SECRET, secret)]);
  let first = trained && roles.size === 0;
  let turn: Promise<void> = Promise.resolve();

  const lot = (name: string): number => {
    const digest = sha256(encodeCbor(['holdout', secret, name]));
    return new DataView(digest.buffer, digest.byteOffset).getUint32(0) / 2 ** 32;
  };
  const counts = (): Record<Role, number> => {
    const found = { train: 0, adopt: 0, calibrate: 0 };
    for (const role of roles.values()) found[role] += 1;
    return found;
  };

  async function give(machines: readonly string[]): Promise<void> {
    const fresh = [...new Set(machines)].filter((machine) => !roles.has(machine));
    if (fresh.length === 0) return;
    // By lot: the order in which machines are named may say something about them.
    fresh.sort((a, b) => lot(a) - lot(b) || (a < b ? -1 : 1));
    const wanted = first ? { adopt: 0, calibrate: 0 } : quota(roles.size + fresh.length, holdBack);
    const held = counts();
    const given = fresh.map((machine): readonly [string, Role] => {
      const role = scarcest(wanted, held);
      held[role] += 1;
      return [machine, role];
    });
    await write(given.map(([machine, role]) => section.put(ROLE + machine, encodeCbor(ROLES.indexOf(role)))));
    // Known only when it is durable: a crash must not let a machine that has trained be drawn again.
    for (const [machine, role] of given) roles.set(machine, role);
    first = false;
  }

  return {
    admit(machines) {
      const named = [...machines];
      const mine = turn.then(() => give(named));
      turn = mine.catch(() => undefined);
      return mine;
    },
    roleOf: (machine) => roles.get(machine),
    trains: (machine) => roles.get(machine) === 'train',
    counts,
    why() {
      const { adopt, calibrate } = counts();
      if (adopt + calibrate > 0) return undefined;
      if (holdBack.adopt + holdBack.calibrate === 0) return 'no machine is held back: hold_back is 0';
      return `no machine is held back: that takes ${FEWEST} machines that are not learned from yet, here are ${roles.size}`;
    },
    lot,
  };
}

/** How many machines of `count` are to be held back for each purpose: the nearest whole number, at least one. */
export function quota(count: number, { adopt, calibrate }: HoldBack): HoldBack {
  if (count < FEWEST) return { adopt: 0, calibrate: 0 };
  const of = (part: number) => (part === 0 ? 0 : Math.max(1, Math.round(part * count)));
  return { adopt: of(adopt), calibrate: of(calibrate) };
}

/** The role that is furthest from its quota; whoever is in no quota trains. */
function scarcest(wanted: HoldBack, held: Readonly<Record<Role, number>>): Role {
  const lack = (role: 'adopt' | 'calibrate') =>
    held[role] >= wanted[role] ? 0 : (wanted[role] - held[role]) / wanted[role];
  const [adopt, calibrate] = [lack('adopt'), lack('calibrate')];
  if (adopt === 0 && calibrate === 0) return 'train';
  return adopt >= calibrate ? 'adopt' : 'calibrate';
}

function checkHoldBack({ adopt, calibrate }: HoldBack): void {
  for (const part of [adopt, calibrate]) {
    if (!(part >= 0 && part < 1))
      throw new RangeError(`a part of ${part} held back: it has to lie in [0, 1)`);
  }
  if (adopt + calibrate > MOST_HELD_BACK) {
    throw new RangeError(`${adopt + calibrate} of the machines held back: at most ${MOST_HELD_BACK}`);
  }
}

function decodeRole(bytes: Uint8Array): Role {
  const role = ROLES[safeInteger(decodeCbor(bytes), 'role')];
  if (!role) throw new Error('a machine’s role is none that is known');
  return role;
}
