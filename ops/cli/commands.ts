import type { Command } from 'commander';
import { addApprovalsCommands } from './approvals-command.ts';
import { addAuditCommands } from './audit-command.ts';
import { addCallCommands } from './call-command.ts';
import { addHostsCommands } from './hosts-command.ts';
import { addKeysCommands } from './keys-command.ts';
import { addLimitsCommands } from './limits-command.ts';
import { addPackagesCommands } from './packages-command.ts';
import { addPreheatCommands } from './preheat-command.ts';
import { addScriptCommand } from './script-command.ts';
import { addQueryCommand } from './query-command.ts';
import { addReleaseCommands } from './release-command.ts';
import { addPushCommand } from './push-command.ts';
import type { AuditTools } from './audit-command.ts';
import type { ReleaseTools } from './release-tools.ts';

/** What the commands need of the process. */
export type DfopsTools = AuditTools & ReleaseTools;

/** Adds all that `dfops` can do to the program. */
export function addCommands(program: Command, tools: DfopsTools): void {
  addPreheatCommands(program, tools);
  addLimitsCommands(program, tools);
  addCallCommands(program, tools);
  addPushCommand(program, tools);
  addScriptCommand(program, tools);
  addPackagesCommands(program, tools);
  addAuditCommands(program, tools);
  addKeysCommands(program, tools);
  addApprovalsCommands(program, tools);
  addHostsCommands(program, tools);
  addQueryCommand(program, tools);
  addReleaseCommands(program, tools);
}
