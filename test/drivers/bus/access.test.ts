import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createBusAccess } from '../../../drivers/bus/access.ts';
import { loadPart } from '../../../drivers/bus/errors.ts';
import { listGpioChips, resolveGpioLine } from '../../../drivers/bus/gpio.ts';
import { guardI2cBus, type I2cBus, openI2cBus } from '../../../drivers/bus/i2c.ts';

function fakeBus(log: string[]): I2cBus {
  return {
    readRegister: async (_address, _register, length) => new Uint8Array(length),
    writeRegister: async () => {},
    readWord: async () => 0,
    writeWord: async () => {},
    close: async () => {
      log.push('closed');
    },
  };
}

test('a bus is opened once, shared, and closed with its last user', async () => {
  const log: string[] = [];
  const access = createBusAccess({
    openI2c: async (bus) => {
      log.push(`opened ${bus}`);
      return fakeBus(log);
    },
  });
  const [a, b] = await Promise.all([access.i2c(1), access.i2c(1)]);
  await a.close();
  await a.close();
  assert.deepEqual(log, ['opened 1']);
  await b.close();
  assert.deepEqual(log, ['opened 1', 'closed']);
  await (await access.i2c(1)).close();
  assert.deepEqual(log, ['opened 1', 'closed', 'opened 1', 'closed']);
});

test('a bus that did not open is tried again', async () => {
  let tries = 0;
  const access = createBusAccess({
    openI2c: async () => {
      tries += 1;
      if (tries === 1) throw new Error('not yet');
      return fakeBus([]);
    },
  });
  await assert.rejects(access.i2c(1), /not yet/);
  await access.i2c(1);
  assert.equal(tries, 2);
});

test('simulated names without a plant are refused', async () => {
  const access = createBusAccess();
  await assert.rejects(access.i2c('sim:0'), /no simulated plant is running/);
  await assert.rejects(access.gpio({ chip: 'sim', offset: 0 }), /no simulated plant/);
});

test('a missing optional package is named, with the command that installs it', async () => {
  const absent = Object.assign(new Error("Cannot find package 'i2c-bus'"), { code: 'ERR_MODULE_NOT_FOUND' });
  await assert.rejects(
    loadPart('i2c-bus', 'Access to /dev/i2c-*', () => Promise.reject(absent)),
    { code: 'EMISSINGPART', message: /needs the optional package i2c-bus.*npm install i2c-bus/ },
  );
});

test('a bus that is not there is named, whatever is installed', async () => {
  await assert.rejects(openI2cBus(240), /\/dev\/i2c-/);
});

test('arguments that SMBus cannot carry never reach the bus', async () => {
  const bus = guardI2cBus(fakeBus([]), { name: 'bus' });
  await assert.rejects(bus.readRegister(0x48, 0, 33), RangeError);
  await assert.rejects(bus.readRegister(0x80, 0, 1), RangeError);
  await assert.rejects(bus.writeRegister(0x48, 256, Uint8Array.of(1)), RangeError);
  await assert.rejects(bus.writeWord(0x48, 0, 65536), RangeError);
});

test('what the kernel says is put into words', async () => {
  const raw = fakeBus([]);
  const refuse = (code: string) => async () => {
    throw Object.assign(new Error(`${code}: whatever`), { code });
  };
  const bus = guardI2cBus(
    { ...raw, readWord: refuse('EREMOTEIO'), writeWord: refuse('EIO') },
    { name: 'bus 3' },
  );
  await assert.rejects(bus.readWord(0x40, 2), {
    code: 'ENXIO',
    message: /bus 3: reading of register 0x02 at 0x40.*nobody answered/,
  });
  await assert.rejects(bus.writeWord(0x40, 2, 1), { code: 'EBUSIO' });
  const short = guardI2cBus({ ...raw, readRegister: async () => new Uint8Array(1) }, { name: 'bus 3' });
  await assert.rejects(short.readRegister(0x40, 0, 6), /sent 1 bytes instead of 6/);
});

test('a GPIO line is found by chip label and offset, wherever its numbers begin', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kosmos-gpio-'));
  try {
    const chip = async (name: string, label: string, base: number, lines: number) => {
      await mkdir(join(directory, name));
      await writeFile(join(directory, name, 'label'), `${label}\n`);
      await writeFile(join(directory, name, 'base'), `${base}\n`);
      await writeFile(join(directory, name, 'ngpio'), `${lines}\n`);
    };
    await chip('gpiochip569', 'pinctrl-rp1', 569, 54);
    await chip('gpiochip512', 'brcmvirt-gpio', 512, 8);
    await writeFile(join(directory, 'export'), '');
    assert.deepEqual(await listGpioChips(directory), [
      { label: 'brcmvirt-gpio', base: 512, lines: 8 },
      { label: 'pinctrl-rp1', base: 569, lines: 54 },
    ]);
    assert.equal(await resolveGpioLine({ chip: 'pinctrl-rp1', offset: 17 }, directory), 586);
    await assert.rejects(
      resolveGpioLine({ chip: 'pinctrl-bcm2711', offset: 17 }, directory),
      /Chips here: "brcmvirt-gpio"/,
    );
    await assert.rejects(
      resolveGpioLine({ chip: 'brcmvirt-gpio', offset: 8 }, directory),
      /lines 0 to 7, not 8/,
    );
    await chip('gpiochip700', 'pinctrl-rp1', 700, 4);
    await assert.rejects(
      resolveGpioLine({ chip: 'pinctrl-rp1', offset: 1 }, directory),
      /2 chips have the label/,
    );
    await assert.rejects(
      resolveGpioLine({ chip: 'x', offset: 1 }, join(directory, 'none')),
      /cannot be read/,
    );
  } finally {
    await rm(directory, { recursive: true });
  }
});
