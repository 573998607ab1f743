import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createPace } from '../../../runtime/services/training/pace.ts';

/** A process on a clock of its own, which works as told and sleeps what it owes. */
function processWith(share: number) {
  let wall = 1000;
  let cpu = 50;
  const pace = createPace(
    share,
    () => wall,
    () => cpu,
  );
  return {
    /** One step: CPU time, and how long it had to wait for the processor. */
    step(work: number, preempted = 0) {
      wall += work + preempted;
      cpu += work;
      const owed = pace.owed();
      wall += owed;
      return owed;
    },
    used: () => ({ wall: wall - 1000, cpu: cpu - 50 }),
  };
}

describe('a pace', () => {
  it('owes as much sleep as its share asks for', () => {
    const half = processWith(0.5);
    assert.equal(half.step(20), 20);
    assert.equal(half.step(3), 3);
    const tenth = processWith(0.1);
    assert.ok(Math.abs(tenth.step(20) - 180) < 1e-6);
    assert.equal(processWith(1).step(20), 0);
  });

  it('keeps the share over any stretch of time, however long a step is', () => {
    for (const share of [0.05, 0.3, 0.5, 0.9]) {
      for (const work of [0.1, 7, 150, 4000]) {
        const { step, used } = processWith(share);
        for (let count = 0; count < 500; count += 1) step(work);
        const { wall, cpu } = used();
        assert.ok(cpu <= share * wall * (1 + 1e-9), `${share} ${work}`);
        assert.ok(cpu >= share * wall * 0.99, `${share} ${work}: it sleeps no more than it owes`);
      }
    }
  });

  it('counts threads: more CPU time than time has passed is slept off too', () => {
    let wall = 0;
    let cpu = 0;
    const pace = createPace(
      1,
      () => wall,
      () => cpu,
    );
    wall += 10;
    cpu += 40;
    assert.equal(pace.owed(), 30);
  });

  it('lets time that it did not use be used for a second at most', () => {
    const { step } = processWith(0.5);
    step(0.001, 3600_000);
    assert.equal(step(500), 500, 'an hour without the processor buys nothing');
    const waited = processWith(0.5);
    assert.equal(waited.step(10, 400), 0);
    assert.equal(waited.step(100), 0, 'within the second it does');
  });
});
