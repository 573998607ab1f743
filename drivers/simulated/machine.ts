import { createRandom, type Random } from './random.ts';

/** How long machines live: a Weibull law, cut at both ends, cycles at mean load. */
export interface Lifetime {
  readonly scale: number;
  readonly shape: number;
  readonly shortest: number;
  readonly longest: number;
}

export const defaultLifetime: Lifetime = { scale: 145, shape: 5, shortest: 90, longest: 200 };

/** What a machine is and shows in one cycle, in SI units (temperatures in degrees Celsius). */
export interface MachineState {
  /** Cycles since the machine was first switched on. */
  readonly cycle: number;
  /** How many repairs it has had. */
  readonly episode: number;
  /** Cycles since the last repair. */
  readonly age: number;
  /** The contact "failed": closed in the last running cycle and until the repair is done. */
  readonly failed: boolean;
  /** True while it turns; false while it stands still to be repaired. */
  readonly running: boolean;
  /** Life used, 0 to 1. Not to be seen from outside. */
  readonly damage: number;
  /** What damage shows in friction and vibration, 0 at first. Not to be seen from outside. */
  readonly wear: number;
  /** Force of the process, N. */
  readonly load: number;
  readonly temperature: number;
  readonly pressure: number;
  readonly humidity: number;
  readonly current: number;
  readonly voltage: number;
  /** Amplitude of the turning frequency, of broadband noise and of defect shocks, each m/s2. */
  readonly vibration: { readonly turning: number; readonly broadband: number; readonly shock: number };
}

export interface MachineOptions {
  readonly seed: number;
  /** Which machine of the plant. */
  readonly machine: number;
  readonly lifetime?: Lifetime | undefined;
  /** Cycles it stands still after a failure. */
  readonly repairCycles?: number | undefined;
}

/** A machine that wears out. `state` is of the present cycle; `step` goes on to the next. */
export interface Machine {
  readonly state: MachineState;
  step(): MachineState;
}

/** Full load of the process, N. */
export const fullLoad = 4000;

const dayCycles = 48; // the ambient temperature and the shift pattern swing with this period

/** How this machine differs from its sisters: tolerances of manufacture and mounting. */
interface Unit {
  readonly thermalResistance: number;
  readonly thermalLag: number;
  readonly idleCurrent: number;
  readonly loadCurrent: number;
  readonly imbalance: number;
  readonly roughness: number;
  readonly phase: number;
}

/** What one life, from a repair to the next failure, has drawn. */
interface Life {
  readonly length: number;
  /** Damage below this does not show. */
  readonly onset: number;
  /** How suddenly it shows then. */
  readonly steepness: number;
  /** How strongly it shows at the end. */
  readonly severity: number;
  readonly random: Random;
}

/**
 * A spindle with a motor at 24 V: load follows a shift pattern, damage follows load (exponent 3, as for ball bearings,
 * ISO 281), wear shows after an onset that is not observable, raises friction (current, heat) and vibration; at damage
 * 1 the machine fails, stands still for its repair and starts as new with another life. Pure: same options, same states.
 */
export function createMachine({
  seed,
  machine,
  lifetime = defaultLifetime,
  repairCycles = 6,
}: MachineOptions): Machine {
  const unit = drawUnit(createRandom(seed, machine, 0xa11));
  const weather = createRandom(seed, machine, 0xa12);
  let life = drawLife(seed, machine, 0, lifetime);
  let cycle = 0;
  let episode = 0;
  let age = 0;
  let damage = 0;
  let standing = 0;
  let wander = 0; // slow part of the load
  let air = 0; // slow part of the weather
  let heat = 0; // degrees above ambient

  const advance = (running: boolean): MachineState => {
    const { random } = life;
    const day = Math.sin((2 * Math.PI * cycle) / dayCycles + unit.phase);
    air = 0.95 * air + 0.3 * weather.normal();
    const ambient = 23 + 3 * day + air;
    wander = 0.85 * wander + 0.06 * random.normal();
    const share = running ? clamp(0.68 + 0.1 * day + wander, 0.3, 1) : 0;
    if (running) damage += (share / 0.7) ** 3 / life.length;
    const shown = Math.max(0, (Math.min(damage, 1) - life.onset) / (1 - life.onset));
    const wear = life.severity * shown ** life.steepness;

    const current = running
      ? unit.idleCurrent + unit.loadCurrent * share + wear * (1 + 2.2 * share) + 0.12 * random.normal()
      : 0;
    // Copper losses and friction warm the bearing; it follows with a lag.
    const target =
      unit.thermalResistance * (0.11 * current ** 2 + (running ? 3 + 16 * wear * (0.4 + share) : 0));
    heat += (target - heat) / unit.thermalLag;
    const force = 0.6 + 0.6 * share;
    return {
      cycle,
      episode,
      age,
      failed: damage >= 1,
      running,
      damage: Math.min(damage, 1),
      wear,
      load: running ? Math.max(0, fullLoad * share + 25 * random.normal()) : Math.abs(4 * random.normal()),
      temperature: ambient + heat + 0.25 * random.normal(),
      pressure: 101_325 + 400 * air + 15 * weather.normal(),
      humidity: clamp(45 - 4 * day - 3 * air - 0.35 * heat + 0.5 * weather.normal(), 3, 97),
      current: Math.max(0, current),
      voltage: 24 - 0.045 * current + 0.03 * random.normal(),
      vibration: running
        ? {
            turning: unit.imbalance * force * (1 + 0.5 * wear) * (1 + 0.08 * random.normal()),
            broadband: unit.roughness * force * (1 + 2.5 * wear) * Math.exp(0.12 * random.normal()),
            shock: 14 * wear * force * Math.exp(0.25 * random.normal()),
          }
        : { turning: 0, broadband: 0.04, shock: 0 },
    };
  };

  let state = advance(true);
  return {
    get state() {
      return state;
    },
    step() {
      cycle += 1;
      age += 1;
      if (state.failed) {
        standing += 1;
        if (standing > repairCycles) {
          episode += 1;
          life = drawLife(seed, machine, episode, lifetime);
          age = 0;
          damage = 0;
          standing = 0;
          wander = 0;
        }
      }
      state = advance(standing === 0);
      return state;
    },
  };
}

function drawUnit(random: Random): Unit {
  const about = (value: number, spread: number): number => value * Math.exp(spread * random.normal());
  return {
    thermalResistance: about(1, 0.06),
    thermalLag: about(6, 0.1),
    idleCurrent: about(2.2, 0.05),
    loadCurrent: about(8, 0.03),
    imbalance: about(1.6, 0.12),
    roughness: about(0.9, 0.1),
    phase: 2 * Math.PI * random.uniform(),
  };
}

function drawLife(seed: number, machine: number, episode: number, lifetime: Lifetime): Life {
  const random = createRandom(seed, machine, 0xa13, episode);
  const drawn = lifetime.scale * (-Math.log(1 - random.uniform())) ** (1 / lifetime.shape);
  return {
    length: clamp(drawn, lifetime.shortest, lifetime.longest),
    onset: 0.05 + 0.35 * random.uniform(),
    steepness: 1 + 0.8 * random.uniform(),
    severity: Math.exp(0.12 * random.normal()),
    random,
  };
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
