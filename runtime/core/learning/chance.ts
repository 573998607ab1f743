/** Gives `length` (up to 65536) fresh bytes of a cryptographically secure generator. */
export type RandomBytes = (length: number) => Uint8Array;

/** The draws that DP-SGD makes, all from one CSPRNG. */
export interface Chance {
  /** Uniform in [0, 1), 53 bits. */
  uniform(): number;
  /** The indices 0 to `count` - 1, each taken with probability `rate`, independently, in order. */
  poissonDraw(count: number, rate: number): number[];
  /** One value of a normal distribution with mean 0 and this deviation. */
  gaussian(deviation: number): number;
}

const BLOCK = 65_536;

/** Draws from `random`, which is asked for whole blocks. */
export function createChance(random: RandomBytes): Chance {
  let block: DataView = new DataView(new ArrayBuffer(0));
  let used = 0;
  let spare: number | undefined;

  function uniform(): number {
    if (used === block.byteLength) {
      const bytes = random(BLOCK);
      block = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      used = 0;
    }
    const high = block.getUint32(used) >>> 5;
    const low = block.getUint32(used + 4) >>> 6;
    used += 8;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /** Box and Muller 1958; 1 - u lies in (0, 1], so that the logarithm is finite. */
  function standardNormal(): number {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  return {
    uniform,
    poissonDraw(count, rate) {
      const drawn: number[] = [];
      for (let index = 0; index < count; index += 1) if (uniform() < rate) drawn.push(index);
      return drawn;
    },
    /**
     * Half the sum of four values: which floats a single Box-Muller value can take betrays what it was
     * added to (Mironov 2012; Holohan and Braghin 2021, "Secure random sampling in differential privacy",
     * whose remedy this is). What leaves a gateway is, besides, rounded at random to fixed point.
     */
    gaussian(deviation) {
      const sum = standardNormal() + standardNormal() + standardNormal() + standardNormal();
      return (deviation * sum) / 2;
    },
  };
}
