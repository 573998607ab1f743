// Run as a process of its own: johnny-five and Firmata leave timers behind. Prints what was read as one JSON object.
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import { bme280, bme280Settings } from '../../../drivers/bme280.ts';
import { type FirmataIo, firmataI2cBus, openBoard } from '../../../drivers/bus/board.ts';
import { createIoPlugin } from '../../../drivers/bus/io-plugin.ts';
import { ina219, ina219Settings } from '../../../drivers/ina219.ts';
import { drawCalibration, simulatedBme280 } from '../../../drivers/simulated/bme280.ts';
import { createSimulatedBus } from '../../../drivers/simulated/bus.ts';
import type { SimulatedChip } from '../../../drivers/simulated/chip.ts';
import { createContact } from '../../../drivers/simulated/contact.ts';
import { simulatedIna219 } from '../../../drivers/simulated/ina219.ts';

const require = createRequire(import.meta.url);
const chips = new Map<number, SimulatedChip>([
  [
    0x76,
    simulatedBme280(drawCalibration(1, 1), () => ({ temperature: 31.4, pressure: 98_765, humidity: 42 })),
  ],
  [0x40, simulatedIna219(0.01, () => ({ current: 5, voltage: 24 }))],
]);

/** The firmware at the far end: the handshake and I2C of the Firmata protocol 2.6, its chips ours. */
function firmware(): EventEmitter {
  const transport = Object.assign(new EventEmitter(), {
    isOpen: true,
    write(buffer: Uint8Array) {
      for (const message of split([...buffer])) answer(message);
    },
  });
  const send = (...bytes: number[]) => setImmediate(() => transport.emit('data', bytes));
  const two = (value: number) => [value & 0x7f, (value >> 7) & 0x7f];
  const joined = (bytes: number[]) =>
    Array.from({ length: bytes.length >> 1 }, (_, i) => bytes[2 * i]! | (bytes[2 * i + 1]! << 7));
  const answer = ([start, command, ...rest]: number[]): void => {
    if (start === 0xf9) send(0xf9, 2, 6);
    else if (command === 0x79) send(0xf0, 0x79, 2, 6, 0xf7);
    else if (command === 0x6b) send(0xf0, 0x6c, 0, 1, 1, 1, 0x7f, 6, 1, 0x7f, 6, 1, 0x7f, 0xf7);
    else if (command === 0x69) send(0xf0, 0x6a, 127, 127, 127, 0xf7);
    else if (command === 0x76) {
      const [address = 0, mode = 0, ...data] = rest.slice(0, -1);
      const [register = 0, ...bytes] = joined(data);
      const chip = chips.get(address);
      if (!chip) return; // the real one says so in a text message, and sends no reply
      if (mode >> 3 === 0) chip.write(register, Uint8Array.from(bytes));
      else
        send(
          0xf0,
          0x77,
          ...two(address),
          ...two(register),
          ...[...chip.read(register, bytes[0] ?? 0)].flatMap(two),
          0xf7,
        );
    }
  };
  // On power-on it names its protocol and itself without being asked.
  setImmediate(() => {
    answer([0xf9]);
    answer([0xf0, 0x79]);
  });
  return transport;
}

function split(bytes: number[]): number[][] {
  const messages: number[][] = [];
  for (let i = 0; i < bytes.length; ) {
    const end = bytes[i] === 0xf0 ? bytes.indexOf(0xf7, i) + 1 : i + 1;
    messages.push(bytes.slice(i, end));
    i = end;
  }
  return messages;
}

/** johnny-five's own driver of the BME280, and its switch, on our plugin. */
async function throughPlugin() {
  const five = require('johnny-five') as Record<string, new (options: object) => EventEmitter>;
  const { bus } = createSimulatedBus({ name: 'sim', chips });
  let closed = false;
  const errors: string[] = [];
  const io = createIoPlugin({
    name: 'gateway',
    i2c: bus,
    lines: [createContact(() => closed, 5)],
    onError: (error) => errors.push(error.message),
  });
  const early = io.isReady;
  const board = await openBoard({ io });
  const multi = new five.Multi!({ controller: 'BME280', address: 0x76, board, freq: 50 });
  const contact = new five.Switch!({ pin: 0, board, type: 'NC' });
  const seen: string[] = [];
  contact.on('open', () => seen.push('open'));
  const edge = new Promise<void>((resolve) => {
    contact.once('close', () => {
      seen.push('close');
      resolve();
    });
  });
  setTimeout(() => {
    closed = true;
  }, 100);
  const part = await new Promise<Record<string, Record<string, number>>>((resolve) => {
    multi.once('data', (data: Record<string, Record<string, number>>) => resolve(data));
  });
  await edge;
  io.stop();
  return {
    early,
    errors,
    seen,
    temperature: part.thermometer?.celsius,
    pressure: part.barometer?.pressure,
    humidity: part.hygrometer?.relativeHumidity,
  };
}

/** Our drivers through a Firmata client at the chips of a firmware. */
async function throughFirmata() {
  type Firmata = new (transport: EventEmitter, options: object) => EventEmitter & FirmataIo;
  const { Board } = createRequire(require.resolve('johnny-five'))('firmata') as { Board?: Firmata } & Firmata;
  const client = new Board!(firmware(), { reportVersionTimeout: 100 });
  await new Promise((resolve) => client.once('ready', resolve));
  const bus = firmataI2cBus(client, 'firmata', 100);
  const access = { i2c: async () => bus, gpio: () => Promise.reject(new Error('none')) };
  const values: number[] = [];
  for (const sensor of [
    await bme280.open(bme280Settings.parse({ bus: 0 }), access),
    await ina219.open(ina219Settings.parse({ bus: 0 }), access),
  ]) {
    const reading = await sensor.read();
    if (reading !== 'end') values.push(...reading.values);
  }
  const absent = await bus.readRegister(0x50, 0, 1).then(
    () => 'answered',
    (error: Error) => error.message,
  );
  const after = [...(await bus.readRegister(0x76, 0xd0, 1))];
  return { values, absent, after };
}

const result = { plugin: await throughPlugin(), firmata: await throughFirmata() };
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
