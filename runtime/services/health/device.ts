/** What the device says of itself: temperature, power, disk, memory. Linux; elsewhere it says nothing. */
import { readdir, readFile, statfs } from 'node:fs/promises';
import { join } from 'node:path';

/** Where the kernel tells it. */
export interface DevicePaths {
  /** Directory of thermal_zone* (kernel: Documentation/ABI/testing/sysfs-class-thermal). */
  readonly thermal: string;
  /** Raspberry Pi's firmware: a hexadecimal word of flags. */
  readonly throttled: string;
  /** Directory of hwmon*; the one named rpi_volt has an alarm for low voltage. */
  readonly hwmon: string;
  readonly meminfo: string;
}

export interface Temperature {
  readonly celsius: number;
  /** The sensor that shows it. */
  readonly zone: string;
}

/** What the power supply and the firmware complain of. */
export interface Throttling {
  readonly now: readonly string[];
  /** Since the device was switched on. */
  readonly before: readonly string[];
}

export interface Device {
  /** The hottest sensor; undefined where there is none. */
  temperature(): Promise<Temperature | undefined>;
  /** Undefined where nobody watches it. */
  throttling(): Promise<Throttling | undefined>;
  /** Bytes that an unprivileged process may still write where `directory` is. */
  freeBytes(directory: string): Promise<number | undefined>;
  memory(): Promise<{ readonly total: number; readonly available: number } | undefined>;
}

const PATHS: DevicePaths = {
  thermal: '/sys/class/thermal',
  throttled: '/sys/devices/platform/soc/soc:firmware/get_throttled',
  hwmon: '/sys/class/hwmon',
  meminfo: '/proc/meminfo',
};

/** Bits of the firmware's word (Raspberry Pi documentation, vcgencmd get_throttled); 16 higher: since power on. */
const FLAGS = ['under-voltage', 'clock capped', 'throttled', 'soft temperature limit'] as const;
/** What sensors of things that are not there show. */
const PLAUSIBLE = { least: -40, most: 150 };

export function createDevice(given: Partial<DevicePaths> = {}): Device {
  const paths = { ...PATHS, ...given };
  return {
    async temperature() {
      let hottest: Temperature | undefined;
      for (const zone of await namesIn(paths.thermal, 'thermal_zone')) {
        const text = await read(join(paths.thermal, zone, 'temp'));
        const celsius = /^-?\d+$/.test(text) ? Number(text) / 1000 : Number.NaN;
        if (!(celsius >= PLAUSIBLE.least && celsius <= PLAUSIBLE.most)) continue;
        if (hottest !== undefined && hottest.celsius >= celsius) continue;
        hottest = { celsius, zone: (await read(join(paths.thermal, zone, 'type'))) || zone };
      }
      return hottest;
    },
    async throttling() {
      const now = new Set<string>();
      const before = new Set<string>();
      const word = await read(paths.throttled);
      const flags = /^(0x)?[0-9a-f]{1,8}$/i.test(word) ? Number.parseInt(word, 16) : undefined;
      FLAGS.forEach((flag, bit) => {
        if (flags === undefined) return;
        if (flags & (1 << bit)) now.add(flag);
        if (flags & (1 << (bit + 16))) before.add(flag);
      });
      let watched = flags !== undefined;
      for (const chip of await namesIn(paths.hwmon, 'hwmon')) {
        if ((await read(join(paths.hwmon, chip, 'name'))) !== 'rpi_volt') continue;
        for (const file of await namesIn(join(paths.hwmon, chip), 'in')) {
          if (!file.endsWith('_lcrit_alarm')) continue;
          const alarm = await read(join(paths.hwmon, chip, file));
          if (alarm !== '0' && alarm !== '1') continue;
          watched = true;
          if (alarm === '1') now.add(FLAGS[0]);
        }
      }
      return watched ? { now: [...now], before: [...before] } : undefined;
    },
    async freeBytes(directory) {
      try {
        const { bavail, bsize } = await statfs(directory);
        return bavail * bsize;
      } catch {
        // The directory is gone or the platform has no such call: nobody knows, which is what undefined says.
        return undefined;
      }
    },
    async memory() {
      const text = await read(paths.meminfo);
      const [total, available] = ['MemTotal', 'MemAvailable'].map((name) =>
        Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(text)?.[1]),
      );
      return total && available ? { total: 1024 * total, available: 1024 * available } : undefined;
    },
  };
}

/** A small file's text; empty when it is not there or its sensor gives nothing, which sysfs says with an error. */
async function read(path: string): Promise<string> {
  return (await readFile(path, 'utf8').catch(() => '')).trim();
}

async function namesIn(directory: string, prefix: string): Promise<string[]> {
  const names = await readdir(directory).catch(() => []);
  return names.filter((name) => name.startsWith(prefix)).sort();
}
