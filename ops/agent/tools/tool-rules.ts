import { Type } from 'typebox';
import type { Static } from 'typebox';

const Path = Type.String({ pattern: '^/[^\\x00]{1,4094}$' });
/** Versions that stay unpacked, besides those in use. */
const Keep = Type.Integer({ minimum: 1, maximum: 100 });
const common = {
  /** As whom all of it is done that touches the disk or starts anything. */
  user: Type.String({ pattern: '^[^\\x00:]{1,256}$' }),
};

/**
 * What the file of this host says about one call of a tool: its first argument, as JSON. What a caller says comes in
 * further arguments, so nothing of it can be taken for a rule.
 */
export const ToolRules = Type.Union([
  Type.Object({ ...common, tool: Type.Literal('file.put'), folder: Path, socket: Path }),
  Type.Object({
    ...common,
    tool: Type.Literal('package.install'),
    folder: Path,
    socket: Path,
    keep: Keep,
  }),
  Type.Object({ ...common, tool: Type.Literal('package.switch'), folder: Path, keep: Keep }),
  // Never called for: a dfdaemon that starts runs it by itself.
  Type.Object({ ...common, tool: Type.Literal('package.resume'), folder: Path }),
  Type.Object({
    ...common,
    tool: Type.Literal('script.run'),
    socket: Path,
    /** Patterns of RE2 of which none may be found in a line. */
    refuse: Type.Array(Type.String()),
  }),
]);
export type ToolRules = Static<typeof ToolRules>;

/** Names of commands that are tools of ours. */
export type ToolName = ToolRules['tool'];
