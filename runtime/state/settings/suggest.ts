/**
 * The candidate nearest to `word` that a slip of the finger could have meant, or undefined. Distance is
 * counted in inserted, deleted, replaced and swapped characters (optimal string alignment), case and the
 * kind of word separator left aside; a third of the word may be wrong.
 */
export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
  const plainWord = plain(word);
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const most = Math.max(1, Math.floor(Math.max(plainWord.length, candidate.length) / 3));
    const distance = alignmentDistance(plainWord, plain(candidate));
    if (distance <= most && distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** No key is that long; comparing is quadratic in the length. */
const LONGEST = 80;

function plain(word: string): string {
  return word.slice(0, LONGEST).toLowerCase().replace(/[-_]/g, '');
}

function alignmentDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (last[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let least = Math.min(replace, (last[j] as number) + 1, (row[j - 1] as number) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, (beforeLast[j - 2] as number) + 1);
      }
      row.push(least);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] as number;
}
