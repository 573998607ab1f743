/**
 * The topics of a gateway. Names come from settings and agreements; whatever stands in one, it stays within
 * its level: what MQTT 3.1.1, section 4.7, gives a meaning to, and control characters, are written as
 * "%" and two hexadecimal digits, so that different names never share a topic.
 *
 *     kosmos/<consortium>/<gateway>/state
 *     kosmos/<consortium>/<gateway>/prediction/<machine>
 *     kosmos/<consortium>/<gateway>/sample/<machine>/<stream>
 */
export interface GatewayTopics {
  readonly state: string;
  prediction(machine: string): string;
  sample(machine: string, stream: string): string;
}

const ROOT = 'kosmos';
const SPECIAL = /[\p{Cc}\p{Cs}%/+#]/gu;
/** Bytes of UTF-8 an escaped name may take; six levels stay far below the 65,535 of a topic. */
const MAX_LEVEL = 1_024;

/** The topics of one gateway. Each function throws a RangeError for a name that is empty or too long. */
export function gatewayTopics(consortium: string, gateway: string): GatewayTopics {
  const base = `${ROOT}/${topicLevel(consortium)}/${topicLevel(gateway)}`;
  return {
    state: `${base}/state`,
    prediction: (machine) => `${base}/prediction/${topicLevel(machine)}`,
    sample: (machine, stream) => `${base}/sample/${topicLevel(machine)}/${topicLevel(stream)}`,
  };
}

/** `name` as one level of a topic; throws a RangeError if it is empty or, escaped, over 1,024 bytes. */
export function topicLevel(name: string): string {
  const level = name.replace(SPECIAL, (character) => {
    const code = character.codePointAt(0)!.toString(16).toUpperCase();
    // A lone surrogate has no UTF-8; it takes a form of its own.
    return code.length > 2 ? `%u${code}` : `%${code.padStart(2, '0')}`;
  });
  if (level === '') throw new RangeError('telemetry: an empty name cannot stand in a topic');
  if (new TextEncoder().encode(level).length > MAX_LEVEL) {
    throw new RangeError(`telemetry: a name takes over ${MAX_LEVEL} bytes in a topic; give it a shorter one`);
  }
  return level;
}

/** The filter of all samples of the gateway that publishes to `topic`, if that is a sample's topic. */
export function sampleStreamOf(topic: string): string | undefined {
  const levels = topic.split('/');
  const isSample = levels.length === 6 && levels[0] === ROOT && levels[3] === 'sample';
  return isSample ? [...levels.slice(0, 4), '+', '+'].join('/') : undefined;
}

/** Whether some topic matches both filters (MQTT 3.1.1, section 4.7.1). */
export function filtersMeet(a: string, b: string): boolean {
  const left = a.split('/');
  const right = b.split('/');
  for (let i = 0; ; i++) {
    const [x, y] = [left[i], right[i]];
    if (x === '#' || y === '#') return true;
    if (x === undefined || y === undefined) return x === y;
    if (x !== y && x !== '+' && y !== '+') return false;
  }
}
