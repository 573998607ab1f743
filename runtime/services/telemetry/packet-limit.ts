import type { Socket } from 'node:net';

/**
 * Destroys `socket` when a packet of more than `limit` bytes is announced on it. aedes has no such limit: it would
 * gather up to the 256 MiB that MQTT allows, for each connection. aedes takes what came with `read`, so that is
 * where the bytes are looked at.
 */
export function limitPackets(socket: Socket, limit: number): void {
  const check = createPacketCheck(limit);
  const read = socket.read.bind(socket);
  socket.read = (size?: number): unknown => {
    const chunk: unknown = read(size);
    if (!(chunk instanceof Uint8Array) || check(chunk)) return chunk;
    socket.destroy(new Error(`a packet of more than ${limit} bytes`));
    return null;
  };
}

/** A function that is given a stream of MQTT packets in any pieces, and says whether all are within `limit`. */
export function createPacketCheck(limit: number): (chunk: Uint8Array) => boolean {
  /** Bytes of the packet's body still to come. */
  let body = 0;
  /** Bytes of the fixed header read so far: 0 before the type, then 1 more than those of the length. */
  let header = 0;
  let length = 0;
  return (chunk) => {
    for (let i = 0; i < chunk.length; ) {
      if (body > 0) {
        const skipped = Math.min(body, chunk.length - i);
        body -= skipped;
        i += skipped;
        continue;
      }
      const byte = chunk[i++]!;
      if (header > 0) {
        // MQTT 3.1.1, section 2.2.3: seven bits a byte, the least significant first, at most four bytes.
        length += (byte & 0x7f) * 128 ** (header - 1);
        if (length > limit || (header === 4 && byte >= 0x80)) return false;
        if (byte < 0x80) {
          body = length;
          length = 0;
          header = 0;
          continue;
        }
      }
      header++;
    }
    return true;
  };
}
