import { join } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import type { Log } from '../../core/base/log.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import type { CallTaker, CallWay } from '../../core/swarm/call-taker.ts';
import { AllowMap } from './allow-map.ts';
import { CallAgent } from './call-agent.ts';
import { CallGroups } from './call-groups.ts';
import { CallJournal } from './call-journal.ts';
import { Launcher } from './launcher.ts';
import { ownUser } from './local-user.ts';
import { resumePackages } from './resume-packages.ts';

/** A former dfdaemon that still ends its calls may hold the journal so long. */
const JOURNAL_WAIT_MS = 10_000;
/** Who runs the commands of a root daemon that name no user. */
const UNPRIVILEGED = 'nobody';

const DEFAULT_REVOCATION_AGE_MS = 86_400_000;

export interface CallAgentOptions {
  readonly way: CallWay;
  /** Of the daemon; the journal of calls is kept in `calls` below it. */
  readonly dataDir: string;
  /** What this host lets be run (YAML, docs/calls-on-hosts.md); absent: a few harmless commands. */
  readonly commandsFile?: string | undefined;
  /** Of the local API of the daemon: tools fetch files and packages through it. */
  readonly socket: string;
  /** What is not read-only runs only while the revocations that this host knows are younger, ms; default 24 h. */
  readonly maxRevocationAgeMs?: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** Takes the calls of the cell; ERR_CONFIG when the file of commands is wrong or others can write it, ERR_STORE_…. */
export async function startCallAgent(options: CallAgentOptions): Promise<CallTaker> {
  const { way, dataDir, commandsFile, socket, clock, log } = options;
  const { maxRevocationAgeMs = DEFAULT_REVOCATION_AGE_MS } = options;
  const self = ownUser();
  const defaultUser = self.uid === 0 ? UNPRIVILEGED : self.name;
  const allowMap =
    commandsFile === undefined
      ? AllowMap.builtIn({ defaultUser, socket })
      : await AllowMap.load(commandsFile, { defaultUser, socket });
  const launcher = await Launcher.find(self, { log });
  await using stack = new AsyncDisposableStack();
  const store = stack.use(
    await LevelStateStore.openWhenFree(join(dataDir, 'calls'), { clock, waitMs: JOURNAL_WAIT_MS }),
  );
  const groups = await CallGroups.open({ dataDir, wanted: allowMap.limits, clock, log });
  const { journal, begun } = await CallJournal.open(store);
  const state = { journal, begun, maxRevocationAgeMs };
  const agent = stack.use(new CallAgent({ way, allowMap, launcher, groups, ...state, clock, log }));
  const commands = allowMap.names.length;
  const { facts } = groups;
  const about = { commands, file: commandsFile, unfinished: begun.size, ...facts };
  log.info(about, 'calls are taken');
  const stopping = new AbortController();
  const packages = allowMap.packagesToResume;
  const { signal } = stopping;
  const resumed = resumePackages(packages, { launcher, clock, log, signal });
  stack.defer(async () => {
    stopping.abort();
    await resumed;
  });
  const resources = stack.move();
  return {
    get active() {
      return agent.active;
    },
    facts,
    onConnected: () => agent.onConnected(),
    take: (message) => agent.take(message),
    [Symbol.asyncDispose]: async () => resources.disposeAsync(),
  };
}
