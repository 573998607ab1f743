import type { Link } from './link.ts';

/** The newest prediction of each machine, on its way to a retained topic. */
export interface Predictions {
  /** Takes the machine's newest prediction, as text, in the place of what was there. */
  put(machine: string, topic: string, payload: string): void;
  /** Publishes all over a new connection: its broker may have forgotten what was retained. */
  attach(link: Link): void;
  detach(): void;
  /** Machines whose newest prediction is not acknowledged yet. */
  pending(): number;
}

interface Slot {
  readonly topic: string;
  payload: string;
  state: 'waiting' | 'sent' | 'acknowledged';
}

/** Keeps at most one prediction a machine and one message a machine in flight; `put` throws a RangeError above `maxMachines`. */
export function createPredictions(maxMachines: number): Predictions {
  const slots = new Map<string, Slot>();
  let link: Link | undefined;

  const send = (slot: Slot): void => {
    const over = link;
    if (over === undefined || slot.state === 'sent') return;
    const { payload } = slot;
    slot.state = 'sent';
    over.publish(slot.topic, payload, true, () => {
      if (over !== link) return;
      slot.state = slot.payload === payload ? 'acknowledged' : 'waiting';
      if (slot.state === 'waiting') send(slot);
    });
  };

  return {
    put(machine, topic, payload) {
      const slot = slots.get(machine) ?? { topic, payload, state: 'waiting' };
      if (!slots.has(machine) && slots.size >= maxMachines) {
        throw new RangeError(`predictions of more than ${maxMachines} machines`);
      }
      slots.set(machine, slot);
      slot.payload = payload;
      if (slot.state === 'acknowledged') slot.state = 'waiting';
      send(slot);
    },
    attach(next) {
      link = next;
      for (const slot of slots.values()) {
        slot.state = 'waiting';
        send(slot);
      }
    },
    detach() {
      link = undefined;
      for (const slot of slots.values()) if (slot.state === 'sent') slot.state = 'waiting';
    },
    pending: () => [...slots.values()].filter(({ state }) => state !== 'acknowledged').length,
  };
}
