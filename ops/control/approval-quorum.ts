/** Names of which one must agree. */
export type ApproverList = readonly string[];

/**
 * The lists that nobody stands for yet, when everybody who agreed stands for one list at most; as few as possible, the
 * later ones. Who is on two lists stands for the one where nobody else can.
 */
export function openLists(
  lists: readonly ApproverList[],
  agreed: ReadonlySet<string>,
): ApproverList[] {
  /** Who stands for which list. */
  const stands = new Map<string, number>();
  const find = (at: number, asked: Set<string>): boolean => {
    for (const name of lists[at] ?? []) {
      if (!agreed.has(name) || asked.has(name)) continue;
      asked.add(name);
      const other = stands.get(name);
      // Whoever stands for another list changes over when somebody else can stand there.
      if (other !== undefined && !find(other, asked)) continue;
      stands.set(name, at);
      return true;
    }
    return false;
  };
  return lists.filter((_list, at) => !find(at, new Set()));
}
