/** A small seeded generator: for simulation only, never for anything secret. */
export interface Random {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Standard normal. */
  normal(): number;
}

/**
 * xoshiro128** (Blackman and Vigna 2018), its state filled from `words` by the finaliser of MurmurHash3. Equal words
 * give equal sequences everywhere; words that differ in anything give unrelated ones.
 */
export function createRandom(...words: readonly number[]): Random {
  let mixed = 0x9e3779b9;
  const absorb = (word: number): number => {
    mixed = finalise((mixed ^ (word >>> 0)) + 0x6d2b79f5);
    return mixed;
  };
  for (const word of words) {
    absorb(word);
    absorb(Math.floor(word / 0x1_0000_0000));
  }
  let a = absorb(1);
  let b = absorb(2);
  let c = absorb(3);
  let d = absorb(4) | 1; // the state must not be all zero

  const uniform = (): number => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return result / 0x1_0000_0000;
  };
  let spare: number | null = null;
  return {
    uniform,
    normal() {
      if (spare !== null) {
        const value = spare;
        spare = null;
        return value;
      }
      const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
      const angle = 2 * Math.PI * uniform();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    },
  };
}

function rotate(word: number, by: number): number {
  return (word << by) | (word >>> (32 - by));
}

function finalise(word: number): number {
  let h = word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
