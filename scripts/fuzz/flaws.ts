import { type CborValue, encodeCbor } from '../../runtime/core/encoding/cbor.ts';
import type { Random } from './random.ts';

/**
 * CBOR that is well-formed (RFC 8949, section 3) and says what `value` says, but in a form that is not the
 * deterministic one of section 4.2: one item of it, the `left`-th counted in depth, is written otherwise.
 */
export function encodeFlawed(value: CborValue, place: { left: number }, random: Random): Uint8Array {
  if (place.left-- === 0) return flawed(value, random);
  if (Array.isArray(value)) {
    const items = (value as readonly CborValue[]).map((item) => encodeFlawed(item, place, random));
    return joined(head(4, items.length), ...items);
  }
  if (value instanceof Map) {
    const entries = sorted(value).map(([key, item]) =>
      joined(encodeCbor(key), encodeFlawed(item, place, random)),
    );
    return joined(head(5, entries.length), ...entries);
  }
  if (isTag(value)) return joined(head(6, value.tag), encodeFlawed(value.value, place, random));
  return encodeCbor(value);
}

function flawed(value: CborValue, random: Random): Uint8Array {
  if (Array.isArray(value)) {
    const items = (value as readonly CborValue[]).map(encodeCbor);
    return random.below(2) === 0
      ? joined(longHead(4, items.length, random), ...items)
      : joined(Uint8Array.of(0x9f), ...items, Uint8Array.of(0xff));
  }
  if (value instanceof Map) return flawedMap(value, random);
  if (value instanceof Uint8Array) return flawedString(2, value, random);
  if (typeof value === 'string') return flawedString(3, new TextEncoder().encode(value), random);
  if (isTag(value)) return joined(longHead(6, value.tag, random), encodeCbor(value.value));
  if (typeof value === 'number' || typeof value === 'bigint') {
    const argument = value < 0 ? -1n - BigInt(value) : BigInt(value);
    return longHead(value < 0 ? 1 : 0, argument, random);
  }
  if (typeof value === 'object' && value !== null && 'float' in value)
    return flawedFloat(value.float, random);
  // Simple values in two bytes, or none that has a meaning here.
  return random.pick([
    Uint8Array.of(0xf8, 0x14),
    Uint8Array.of(0xf8, 0xf5),
    Uint8Array.of(0xf7),
    Uint8Array.of(0xe0),
  ]);
}

function flawedMap(map: ReadonlyMap<number | string, CborValue>, random: Random): Uint8Array {
  const entries = sorted(map).map(([key, item]) => joined(encodeCbor(key), encodeCbor(item)));
  const how = random.below(4);
  if (how === 0 && entries.length > 1) return joined(head(5, entries.length), ...entries.toReversed());
  if (how === 1 && entries.length > 0) {
    const at = random.below(entries.length);
    return joined(head(5, entries.length + 1), ...entries.toSpliced(at, 0, entries[at]!));
  }
  if (how === 2) return joined(Uint8Array.of(0xbf), ...entries, Uint8Array.of(0xff));
  return joined(longHead(5, entries.length, random), ...entries);
}

function flawedString(major: number, bytes: Uint8Array, random: Random): Uint8Array {
  const how = random.below(3);
  if (how === 0) return joined(longHead(major, bytes.length, random), bytes);
  if (how === 1) {
    const cut = random.below(bytes.length + 1);
    const [a, b] = [bytes.subarray(0, cut), bytes.subarray(cut)];
    return joined(
      Uint8Array.of((major << 5) | 31),
      head(major, a.length),
      a,
      head(major, b.length),
      b,
      Uint8Array.of(0xff),
    );
  }
  // For text, no UTF-8: a byte that never stands in it, a surrogate, a longer form than needed.
  const broken = random.pick([[0xff], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf4, 0x90, 0x80, 0x80]]);
  return major === 3
    ? joined(head(3, broken.length), Uint8Array.from(broken))
    : joined(head(2, bytes.length + 1), bytes);
}

function flawedFloat(float: number, random: Random): Uint8Array {
  const view = new DataView(new ArrayBuffer(9));
  const how = random.below(3);
  if (how === 0) return Uint8Array.of(0xf9, 0x3e, 0x00);
  if (how === 1) {
    view.setUint8(0, 0xfa);
    view.setFloat32(1, float);
    return new Uint8Array(view.buffer, 0, 5);
  }
  view.setUint8(0, 0xfb);
  view.setBigUint64(1, random.pick([0x7ff8000000000001n, 0x7ff0000000000001n, 0xfff8000000000000n]));
  return new Uint8Array(view.buffer);
}

/** A head with its argument in the shortest form. */
function head(major: number, argument: number): Uint8Array {
  const bytes = encodeCbor(argument);
  return bytes.with(0, bytes[0]! | (major << 5));
}

/** A head with its argument in a longer form than it needs. */
function longHead(major: number, argument: number | bigint, random: Random): Uint8Array {
  const shortest = encodeCbor(argument).length;
  const widths = [1, 2, 4, 8].filter((width) => 1 + width > shortest);
  if (widths.length === 0) return head(major, 0);
  // The next longer one is what is most easily overlooked.
  const width = random.below(2) === 0 ? widths[0]! : random.pick(widths);
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(argument));
  const initial = (major << 5) | (24 + [1, 2, 4, 8].indexOf(width));
  return joined(Uint8Array.of(initial), new Uint8Array(view.buffer, 8 - width));
}

function sorted(map: ReadonlyMap<number | string, CborValue>): (readonly [number | string, CborValue])[] {
  return [...map].sort(([a], [b]) => Buffer.compare(encodeCbor(a), encodeCbor(b)));
}

function isTag(value: CborValue): value is { readonly tag: number; readonly value: CborValue } {
  return typeof value === 'object' && value !== null && 'tag' in value;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
