/** A circle in a graph, its first node repeated at the end; undefined when there is none. */
export function findCircle(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const finished = new Set<string>();
  const trail: string[] = [];

  const search = (node: string): string[] | undefined => {
    const seen = trail.indexOf(node);
    if (seen >= 0) return [...trail.slice(seen), node];
    if (finished.has(node)) return undefined;
    trail.push(node);
    for (const next of graph.get(node) ?? []) {
      const circle = search(next);
      if (circle !== undefined) return circle;
    }
    trail.pop();
    finished.add(node);
    return undefined;
  };

  for (const node of graph.keys()) {
    const circle = search(node);
    if (circle !== undefined) return circle;
  }
  return undefined;
}
