/** Keeps a process to a share of one core by sleeping: a cgroup's cpu.max without needing one. */

/** How long what was not used may be used later. */
const WINDOW_MS = 1000;

export interface Pace {
  /** How long to sleep now, ms, so that the share is kept; 0 when nothing is owed. */
  owed(): number;
}

/**
 * @param share of one core, above 0
 * @param wall the time, ms
 * @param cpu CPU time that all threads of this process have used, ms
 */
export function createPace(share: number, wall: () => number, cpu: () => number): Pace {
  let wallMark = wall();
  let cpuMark = cpu();
  return {
    owed() {
      const now = wall();
      const used = cpu();
      const owed = (used - cpuMark) / share - (now - wallMark);
      if (owed > 0) return owed;
      if (now - wallMark >= WINDOW_MS) {
        wallMark = now;
        cpuMark = used;
      }
      return 0;
    },
  };
}
