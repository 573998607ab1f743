/**
 * RFC 6962 hashing in AssemblyScript, four messages at a time: each lane of the SIMD vectors runs one SHA-256
 * (FIPS 180-4). Compiled by build.mjs; runtime/platform/merkle.ts fills the memory and calls. All addresses are
 * fixed, and nothing grows. The compiled module stays below 4 kB, the most that every browser compiles at once.
 */

/** The data of entries: leaves() reads up to 16 bytes behind an entry. */
export const DATA: usize = 0x5000;
export const DATA_BYTES: i32 = 0x10000;
/** Start and length of each entry in the data: two u32 an entry. */
export const SPANS: usize = 0x3000;
export const SPAN_COUNT: i32 = 1024;
/** No entry in the data may be longer. */
export const LONGEST: i32 = 1024;
/** Hashes, 32 bytes each; root() overwrites them. */
export const HASHES: usize = 0x16000;
export const HASH_COUNT: i32 = 8192;

/** The four messages of the lanes, each padded to whole blocks. Below lie the constants. */
const SLOTS: usize = 0x1000;
const SLOT: usize = 1152;
/** The message schedule: 64 words of four lanes. */
const SCHEDULE: usize = 0x2200;
/** The states of the four lanes, word by word. */
const STATE: usize = 0x2600;
/** The number of blocks of each lane's message. */
const BLOCKS: usize = 0x2680;

const K: usize = memory.data<u32>([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
], 16);

const INITIAL: usize = memory.data<u32>([
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
], 16);

@inline
function add(x: v128, y: v128): v128 {
  return i32x4.add(x, y);
}

@inline
function rotate(x: v128, right: i32): v128 {
  return v128.or(i32x4.shr_u(x, right), i32x4.shl(x, 32 - right));
}

/** 16 bytes as four big-endian words. */
@inline
function words(at: usize): v128 {
  const x = v128.load(at);
  return i8x16.shuffle(x, x, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
}

/** The 4 x 4 words of four rows, as columns. */
@inline
function transpose(to: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab0 = i32x4.shuffle(a, b, 0, 4, 1, 5);
  const ab1 = i32x4.shuffle(a, b, 2, 6, 3, 7);
  const cd0 = i32x4.shuffle(c, d, 0, 4, 1, 5);
  const cd1 = i32x4.shuffle(c, d, 2, 6, 3, 7);
  v128.store(to, i64x2.shuffle(ab0, cd0, 0, 2));
  v128.store(to, i64x2.shuffle(ab0, cd0, 1, 3), 16);
  v128.store(to, i64x2.shuffle(ab1, cd1, 0, 2), 32);
  v128.store(to, i64x2.shuffle(ab1, cd1, 1, 3), 48);
}

/** The part of a round that both the new a and the new e need; `t + offset` is 16 times the round. */
@inline
function choose(e: v128, f: v128, g: v128, h: v128, t: usize, offset: usize): v128 {
  const sum = v128.xor(v128.xor(rotate(e, 6), rotate(e, 11)), rotate(e, 25));
  const chosen = v128.xor(g, v128.and(e, v128.xor(f, g)));
  const constant = v128.load32_splat(K + (t >> 2) + (offset >> 2));
  const word = v128.load(SCHEDULE + t + offset);
  return add(add(add(h, word), constant), add(sum, chosen));
}

@inline
function sum0(a: v128): v128 {
  return v128.xor(v128.xor(rotate(a, 2), rotate(a, 13)), rotate(a, 22));
}

/** Runs the block at `m0`..`m3` of the four lanes into STATE. */
function compress(m0: usize, m1: usize, m2: usize, m3: usize): void {
  for (let i: usize = 0; i < 64; i += 16) {
    transpose(SCHEDULE + (i << 2), words(m0 + i), words(m1 + i), words(m2 + i), words(m3 + i));
  }
  for (let p: usize = SCHEDULE; p < SCHEDULE + 48 * 16; p += 16) {
    const x = v128.load(p, 16);
    const y = v128.load(p, 14 * 16);
    const s0 = v128.xor(v128.xor(rotate(x, 7), rotate(x, 18)), i32x4.shr_u(x, 3));
    const s1 = v128.xor(v128.xor(rotate(y, 17), rotate(y, 19)), i32x4.shr_u(y, 10));
    v128.store(p, add(add(v128.load(p), s0), add(v128.load(p, 9 * 16), s1)), 16 * 16);
  }
  let a = v128.load(STATE, 0);
  let b = v128.load(STATE, 16);
  let c = v128.load(STATE, 32);
  let d = v128.load(STATE, 48);
  let e = v128.load(STATE, 64);
  let f = v128.load(STATE, 80);
  let g = v128.load(STATE, 96);
  let h = v128.load(STATE, 112);
  // The majority of a, b and c is b ^ ((a ^ b) & (b ^ c)), and b ^ c is the a ^ b of the round before.
  let bc = v128.xor(b, c);
  let ab: v128;
  let x: v128;
  for (let t: usize = 0; t < 64 * 16; t += 8 * 16) {
    x = choose(e, f, g, h, t, 0);
    d = add(d, x);
    ab = v128.xor(a, b);
    h = add(add(x, sum0(a)), v128.xor(b, v128.and(ab, bc)));
    x = choose(d, e, f, g, t, 16);
    c = add(c, x);
    bc = v128.xor(h, a);
    g = add(add(x, sum0(h)), v128.xor(a, v128.and(bc, ab)));
    x = choose(c, d, e, f, t, 32);
    b = add(b, x);
    ab = v128.xor(g, h);
    f = add(add(x, sum0(g)), v128.xor(h, v128.and(ab, bc)));
    x = choose(b, c, d, e, t, 48);
    a = add(a, x);
    bc = v128.xor(f, g);
    e = add(add(x, sum0(f)), v128.xor(g, v128.and(bc, ab)));
    x = choose(a, b, c, d, t, 64);
    h = add(h, x);
    ab = v128.xor(e, f);
    d = add(add(x, sum0(e)), v128.xor(f, v128.and(ab, bc)));
    x = choose(h, a, b, c, t, 80);
    g = add(g, x);
    bc = v128.xor(d, e);
    c = add(add(x, sum0(d)), v128.xor(e, v128.and(bc, ab)));
    x = choose(g, h, a, b, t, 96);
    f = add(f, x);
    ab = v128.xor(c, d);
    b = add(add(x, sum0(c)), v128.xor(d, v128.and(ab, bc)));
    x = choose(f, g, h, a, t, 112);
    e = add(e, x);
    bc = v128.xor(b, c);
    a = add(add(x, sum0(b)), v128.xor(c, v128.and(bc, ab)));
  }
  v128.store(STATE, add(a, v128.load(STATE, 0)), 0);
  v128.store(STATE, add(b, v128.load(STATE, 16)), 16);
  v128.store(STATE, add(c, v128.load(STATE, 32)), 32);
  v128.store(STATE, add(d, v128.load(STATE, 48)), 48);
  v128.store(STATE, add(e, v128.load(STATE, 64)), 64);
  v128.store(STATE, add(f, v128.load(STATE, 80)), 80);
  v128.store(STATE, add(g, v128.load(STATE, 96)), 96);
  v128.store(STATE, add(h, v128.load(STATE, 112)), 112);
}

function begin(): void {
  for (let i: usize = 0; i < 8; i++) v128.store(STATE + (i << 4), v128.load32_splat(INITIAL + (i << 2)));
}

/** The hash of one lane, as bytes. */
function take(lane: usize, to: usize): void {
  for (let i: usize = 0; i < 8; i++) {
    store<u32>(to + (i << 2), bswap(load<u32>(STATE + (i << 4) + (lane << 2))));
  }
}

@inline
function slot(lane: usize): usize {
  return SLOTS + lane * SLOT;
}

/** Puts `0x00 || entry` into a lane's slot, padded; the count of blocks. */
function fill(lane: usize, from: usize, length: u32): u32 {
  const at = slot(lane);
  store<u8>(at, 0);
  // Whole vectors: what goes over the end is overwritten below, or lies behind the last block.
  for (let i: usize = 0; i < length; i += 16) v128.store(at + 1 + i, v128.load(from + i));
  const end = at + 1 + length;
  const blocks = (length + 1 + 8) / 64 + 1;
  store<u8>(end, 0x80);
  memory.fill(end + 1, 0, at + 64 * blocks - end - 1);
  store<u32>(at + 64 * blocks - 4, bswap((length + 1) * 8));
  return blocks;
}

/** The leaf hashes of the first `count` spans, into the hashes from `index` on. */
export function leaves(count: u32, index: u32): void {
  for (let first: u32 = 0; first < count; first += 4) {
    const lanes = min<u32>(4, count - first);
    let most: u32 = 0;
    for (let lane: u32 = 0; lane < lanes; lane++) {
      const span = SPANS + ((first + lane) << 3);
      const blocks = fill(lane, DATA + load<u32>(span), load<u32>(span, 4));
      store<u32>(BLOCKS + (lane << 2), blocks);
      most = max(most, blocks);
    }
    begin();
    for (let block: u32 = 1; block <= most; block++) {
      const offset = (block - 1) << 6;
      compress(slot(0) + offset, slot(1) + offset, slot(2) + offset, slot(3) + offset);
      for (let lane: u32 = 0; lane < lanes; lane++) {
        if (load<u32>(BLOCKS + (lane << 2)) == block) {
          take(lane, HASHES + ((index + first + lane) << 5));
        }
      }
    }
  }
}

/** The root over the first `count` (1 or more) hashes, into the first. */
export function root(count: u32): void {
  // Like entries of 64 bytes, but for the first byte; the padding is the same for all nodes.
  for (let lane: usize = 0; lane < 4; lane++) {
    fill(lane, DATA, 64);
    store<u8>(slot(lane), 1);
  }
  while (count > 1) {
    const pairs = count >> 1;
    for (let first: u32 = 0; first < pairs; first += 4) {
      const lanes = min<u32>(4, pairs - first);
      for (let lane: u32 = 0; lane < lanes; lane++) {
        const from = HASHES + ((first + lane) << 6);
        const to = slot(lane) + 1;
        v128.store(to, v128.load(from), 0);
        v128.store(to, v128.load(from, 16), 16);
        v128.store(to, v128.load(from, 32), 32);
        v128.store(to, v128.load(from, 48), 48);
      }
      begin();
      compress(slot(0), slot(1), slot(2), slot(3));
      compress(slot(0) + 64, slot(1) + 64, slot(2) + 64, slot(3) + 64);
      for (let lane: u32 = 0; lane < lanes; lane++) take(lane, HASHES + ((first + lane) << 5));
    }
    // An odd last one goes up as it is.
    if (count & 1) memory.copy(HASHES + (pairs << 5), HASHES + ((count - 1) << 5), 32);
    count = pairs + (count & 1);
  }
}
