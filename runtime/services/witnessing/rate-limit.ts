/** Token buckets: how much strangers may ask, each of them and all together. */
import { isIPv4 } from 'node:net';

export interface Allowance {
  /** Tokens that come back in a second. */
  readonly rate: number;
  /** Tokens that a bucket holds: what may be asked at once. */
  readonly burst: number;
}

export interface RateLimitOptions {
  readonly each: Allowance;
  readonly all: Allowance;
  /** The most addresses that are remembered; the one that has asked nothing for longest is forgotten first. */
  readonly maxAddresses: number;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number;
}

export interface RateLimit {
  /** 0 when the request may be answered, else in how many whole seconds it may be asked again. */
  take(address: string, tokens?: number): number;
  /** How many addresses are remembered. */
  size(): number;
}

interface Bucket {
  tokens: number;
  at: number;
}

/**
 * A limit for every address and one for all. A request that its address may not make costs the others nothing;
 * one address has at most what its bucket holds, whatever the bucket for all holds.
 */
export function createRateLimit(options: RateLimitOptions): RateLimit {
  const { each, all, maxAddresses, now = () => performance.now() } = options;
  // In the order in which they last asked: a Map keeps the order of insertion.
  const buckets = new Map<string, Bucket>();
  const common: Bucket = { tokens: all.burst, at: now() };

  function bucketOf(key: string, time: number): Bucket {
    const known = buckets.get(key);
    const bucket = known ?? { tokens: each.burst, at: time };
    if (known) buckets.delete(key);
    else if (buckets.size >= maxAddresses) forgetOldest();
    buckets.set(key, bucket);
    return bucket;
  }

  function forgetOldest(): void {
    const oldest = buckets.keys().next();
    if (!oldest.done) buckets.delete(oldest.value);
  }

  return {
    take(address, tokens = 1) {
      const time = now();
      const own = bucketOf(addressKey(address), time);
      refill(own, each, time);
      refill(common, all, time);
      const wait = Math.max(waitFor(own, each, tokens), waitFor(common, all, tokens));
      if (wait > 0) return wait;
      own.tokens -= tokens;
      common.tokens -= tokens;
      return 0;
    },
    size: () => buckets.size,
  };
}

/**
 * What counts as one asker: an IPv4 address, also when it comes as ::ffff:a.b.c.d, or the /64 of an IPv6
 * address, since whoever has one address of it has all of them.
 */
export function addressKey(address: string): string {
  const text = address.split('%', 1)[0]!.toLowerCase();
  if (isIPv4(text)) return text;
  const groups = ipv6Groups(text);
  if (!groups) return '';
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    const [high = 0, low = 0] = groups.slice(6);
    return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
  }
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(':')}::/64`;
}

/** The eight groups of an IPv6 address in any of its written forms; undefined for anything else. */
function ipv6Groups(text: string): readonly number[] | undefined {
  const [head = '', tail, ...more] = text.split('::');
  if (more.length > 0) return undefined;
  const front = groupsOf(head);
  const back = tail === undefined ? [] : groupsOf(tail);
  const missing = 8 - front.length - back.length;
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...front, ...Array.from({ length: missing }, () => 0), ...back];
  return groups.every((group) => group >= 0 && group <= 0xffff) ? groups : undefined;
}

function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((part) => {
    if (isIPv4(part)) {
      const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number);
      return [a * 256 + b, c * 256 + d];
    }
    return [/^[0-9a-f]{1,4}$/.test(part) ? Number.parseInt(part, 16) : -1];
  });
}

function refill(bucket: Bucket, { rate, burst }: Allowance, time: number): void {
  bucket.tokens = Math.min(burst, bucket.tokens + (Math.max(0, time - bucket.at) / 1000) * rate);
  bucket.at = time;
}

function waitFor(bucket: Bucket, { rate }: Allowance, tokens: number): number {
  return bucket.tokens >= tokens ? 0 : Math.max(1, Math.ceil((tokens - bucket.tokens) / rate));
}
