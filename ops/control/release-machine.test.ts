import test from 'ava';
import * as fc from 'fast-check';
import type { HostResult } from './call-record.ts';
import { advance, wished } from './release-machine.ts';
import type { ReleaseMove, StepCall } from './release-machine.ts';
import { releaseWishes } from './release-record.ts';
import type { ReleaseRecord, ReleaseWish } from './release-record.ts';
import { failuresOf, isEnded, stateAtStart } from './release-state.ts';
import type { ReleaseState } from './release-state.ts';

const alice = { principal: 'alice' };
const bob = { principal: 'bob', key: 'b0b' };

function releaseOf(sizes: readonly number[], rule: Partial<ReleaseRecord> = {}): ReleaseRecord {
  const digest = `sha256:${'a'.repeat(64)}`;
  return {
    id: 'release0',
    principal: alice.principal,
    application: 'web',
    version: '2',
    on: 'all',
    pause: 'none',
    maxFailures: 0,
    healthTimeoutMs: 30_000,
    installTimeoutMs: 600_000,
    digest,
    url: 'http://packages.example/web.tgz',
    plan: digest,
    created: 0,
    batches: sizes.map((size, batch) =>
      Array.from({ length: size }, (_host, at) => ({ peer: `${batch}.${at}` })),
    ),
    ...rule,
  };
}

function said(peer: string, outcome: HostResult['outcome'], stdout = ''): HostResult {
  const text = Buffer.from(stdout);
  const written = { stdoutBytes: text.length, stderrBytes: 0, stderr: '' };
  return { peer, outcome, ended: 0, stdout: text.toString('base64'), ...written };
}

const currentOf = (current: string | null): string =>
  `${JSON.stringify({ name: 'web', version: '2', current })}\n`;

/** What a host says to a call; undefined: nothing. */
type Answer = (call: StepCall, peer: string) => HostResult | undefined;

const wellDone: Answer = ({ command }, peer) =>
  said(peer, 'ok', command === 'package.install' ? currentOf('1') : '');

/** Plays a release until nobody has anything to do; `before` each step somebody may wish something. */
class Play {
  readonly release: ReleaseRecord;
  state: ReleaseState;
  readonly calls: StepCall[] = [];
  readonly states: ReleaseState[] = [];
  #waiting: readonly StepCall[] = [];

  constructor(release: ReleaseRecord) {
    this.release = release;
    this.state = stateAtStart(release);
  }

  begin(): this {
    return this.#take(advance(this.release, this.state, { type: 'begin' }));
  }

  wish(wish: ReleaseWish, how = { by: bob, isLocked: false }): this {
    this.state = wished(this.state, wish, how);
    if (this.state.phase !== 'paused') return this;
    return this.#take(advance(this.release, this.state, { type: 'wished' }));
  }

  hinder(why: string): this {
    return this.#take(advance(this.release, this.state, { type: 'hindered', why }));
  }

  answer(answer: Answer = wellDone): this {
    const results = this.#waiting.flatMap((call) =>
      call.peers.flatMap((peer): [string, HostResult][] => {
        const result = answer(call, peer);
        return result === undefined ? [] : [[peer, result]];
      }),
    );
    const event = { type: 'ended', results: new Map(results) } as const;
    return this.#take(advance(this.release, this.state, event));
  }

  run(answer: Answer = wellDone): this {
    while (this.state.phase === 'running') this.answer(answer);
    return this;
  }

  steps(): string[] {
    return this.calls.map(({ word, args, peers }) => {
      const [batch, step] = word.split('/').slice(2);
      return `${batch} ${step} ${args[1]}: ${peers.join(' ')}`;
    });
  }

  #take({ state, calls }: ReleaseMove): this {
    this.state = state;
    this.states.push(state);
    this.calls.push(...calls);
    this.#waiting = calls;
    return this;
  }
}

test('advance() installs and switches batch by batch', (t) => {
  const play = new Play(releaseOf([1, 2])).begin().run();
  t.is(play.state.phase, 'done');
  t.deepEqual(play.steps(), [
    '0 install 2: 0.0',
    '0 switch 2: 0.0',
    '1 install 2: 1.0 1.1',
    '1 switch 2: 1.0 1.1',
  ]);
  const [install, change] = play.calls;
  const { url, digest } = play.release;
  t.deepEqual(install?.args, ['web', '2', url, digest]);
  t.deepEqual(change?.args, ['web', '2', '30000']);
});

test('advance() leads back at one failure too many, each host to what it had, and no further host is touched', (t) => {
  const former = new Map<string, string | null>([
    ['0.0', '1'],
    ['0.1', null],
    ['1.0', '0.9'],
    ['1.1', '1'],
  ]);
  const play = new Play(releaseOf([2, 2, 2])).begin().run(({ command, args }, peer) => {
    if (command === 'package.install') return said(peer, 'ok', currentOf(former.get(peer) ?? null));
    return said(peer, peer === '1.1' && args[1] === '2' ? 'failed' : 'ok');
  });
  t.is(play.state.phase, 'rolled-back');
  t.is(play.state.rolledBackFor, '1 hosts failed, and 0 may');
  t.deepEqual(play.steps().slice(4), [
    '1 rollback-0.9 0.9: 1.0',
    '1 rollback-1 1: 1.1',
    '0 rollback-1 1: 0.0',
    '0 rollback-none none: 0.1',
  ]);
  t.deepEqual(
    Object.values(play.state.hosts).map(({ stage }) => stage),
    ['restored', 'restored', 'restored', 'restored'],
  );
});

test('advance() goes on while failures are within the budget, and asks no more of who failed', (t) => {
  const play = new Play(releaseOf([2, 2], { maxFailures: 2 })).begin().run((call, peer) => {
    if (peer === '0.1') return said(peer, 'failed');
    if (peer === '1.0' && call.command === 'package.switch') return undefined;
    return wellDone(call, peer);
  });
  t.is(play.state.phase, 'done');
  t.is(failuresOf(play.state), 2);
  t.like(play.state.hosts, { '0.1': { stage: 'failed' }, '1.0': { stage: 'broken' } });
  t.deepEqual(play.steps()[1], '0 switch 2: 0.0');
});

test('advance() takes nothing for a success that does not say so: silence, refusal, unknown, other words', (t) => {
  const answers: Answer[] = [
    () => undefined,
    (_call, peer) => said(peer, 'refused'),
    (_call, peer) => said(peer, 'unknown'),
    (_call, peer) => said(peer, 'ok', ''),
    (_call, peer) => said(peer, 'ok', '{"name":"web","version":"3","current":null}'),
    (_call, peer) => said(peer, 'ok', '{"name":"web","version":"2"}'),
    (_call, peer) => said(peer, 'ok', '{"name":"web","version":"2","current":"../../etc"}'),
    (_call, peer) => ({ ...said(peer, 'ok', currentOf(null)), isOutputLost: true }),
  ];
  for (const answer of answers) {
    const play = new Play(releaseOf([1, 1])).begin().run(answer);
    t.is(play.state.phase, 'rolled-back');
    t.is(play.calls.length, 1);
    t.truthy(play.state.hosts['0.0']?.why);
  }
});

test('advance() has an end of its own for hosts that did not come back', (t) => {
  const play = new Play(releaseOf([2])).begin().run((call, peer) => {
    if (call.command === 'package.install') return wellDone(call, peer);
    return peer === '0.0' ? said(peer, 'failed') : said(peer, 'ok');
  });
  t.is(play.state.phase, 'rollback-failed');
  t.like(play.state.hosts, { '0.0': { stage: 'lost' }, '0.1': { stage: 'restored' } });
});

test('advance() pauses after the first batch, after every one, or when asked, and goes on from there', (t) => {
  const first = new Play(releaseOf([1, 1, 1], { pause: 'first' })).begin().run();
  t.like(first.state, { phase: 'paused', step: 'install', batch: 1 });
  t.is(first.wish('continue').run().state.phase, 'done');
  const every = new Play(releaseOf([1, 1, 1], { pause: 'every' })).begin().run();
  t.is(every.wish('continue').run().state.phase, 'paused');
  t.is(every.wish('continue').run().state.phase, 'done');
  const asked = new Play(releaseOf([1, 1])).begin().wish('pause').run();
  t.like(asked.state, { phase: 'paused', step: 'switch', batch: 0 });
  t.is(asked.wish('continue').run().state.phase, 'done');
  for (const play of [first, every, asked]) {
    t.is(new Set(play.calls.map(({ word }) => word)).size, play.calls.length);
  }
});

test('advance() leads back and closes when asked, at once or when the step under way has ended', (t) => {
  const back = new Play(releaseOf([1, 1], { pause: 'first' })).begin().run().wish('rollback').run();
  t.is(back.state.phase, 'rolled-back');
  const midway = new Play(releaseOf([1, 1])).begin().answer().wish('rollback').run();
  t.deepEqual(midway.steps().slice(1), ['0 switch 2: 0.0', '0 rollback-1 1: 0.0']);
  const early = new Play(releaseOf([1])).begin().wish('rollback').run();
  t.is(early.state.phase, 'rolled-back');
  t.is(early.calls.length, 1, 'it runs what it ran');
  const closed = new Play(releaseOf([1, 1])).begin().answer().wish('close').run();
  t.is(closed.state.phase, 'closed');
  t.is(closed.calls.length, 2);
});

test('advance() rests when calls cannot be made, and tries them with other words', (t) => {
  const play = new Play(releaseOf([1])).begin().hinder('ERR_KEY_FILE: none');
  t.like(play.state, { phase: 'paused', step: 'install', pausedFor: 'ERR_KEY_FILE: none' });
  t.is(play.wish('continue').run().state.phase, 'done');
  t.deepEqual(
    play.calls.map(({ word }) => word),
    ['release/release0/0/install/1', 'release/release0/0/install/2', 'release/release0/0/switch/2'],
  );
});

test('wished() says what cannot be: going on without a pause, or with a locked key; anything after the end', (t) => {
  const locked = { by: bob, isLocked: true };
  const running = new Play(releaseOf([1, 1])).begin();
  t.throws(() => running.wish('continue'), { code: 'ERR_CONFLICT' });
  running.wish('pause').run();
  t.throws(() => running.wish('continue', locked), { code: 'ERR_CONFLICT' });
  t.deepEqual(running.state.by, alice);
  // Who leads it back does so in his own name.
  t.deepEqual(running.wish('rollback', locked).state.by, bob);
  running.run();
  for (const wish of releaseWishes) {
    t.throws(() => running.wish(wish), { code: 'ERR_CONFLICT', message: /has ended/ });
  }
});

interface Script {
  readonly sizes: number[];
  readonly pause: ReleaseRecord['pause'];
  readonly maxFailures: number;
  readonly outcomes: (HostResult['outcome'] | 'silent')[];
  readonly formers: (string | null)[];
  readonly wishes: (ReleaseWish | 'hinder' | undefined)[];
}

const script: fc.Arbitrary<Script> = fc.record({
  sizes: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
  pause: fc.constantFrom('none', 'first', 'every'),
  maxFailures: fc.integer({ min: 0, max: 4 }),
  outcomes: fc.array(
    fc.constantFrom('ok', 'ok', 'ok', 'ok', 'failed', 'refused', 'unknown', 'silent'),
    { minLength: 1, maxLength: 60 },
  ),
  formers: fc.array(fc.constantFrom(null, '1', '1', '2', '0.9'), { minLength: 1, maxLength: 9 }),
  wishes: fc.array(
    fc.option(fc.constantFrom(...releaseWishes, 'hinder' as const), { nil: undefined, freq: 3 }),
    { maxLength: 20 },
  ),
});

/** Plays to the end: whoever finds it paused and has nothing else to say says `continue`. */
function playOf({ sizes, pause, maxFailures, outcomes, formers, wishes }: Script): Play {
  let asked = 0;
  const answer: Answer = (call, peer) => {
    const outcome = outcomes[(asked += 1) % outcomes.length] ?? 'ok';
    if (outcome === 'silent') return undefined;
    const isInstall = call.command === 'package.install';
    const former = formers[asked % formers.length] ?? null;
    return said(peer, outcome, isInstall ? currentOf(former) : '');
  };
  const play = new Play(releaseOf(sizes, { pause, maxFailures })).begin();
  for (let turn = 0; !isEnded(play.state); turn += 1) {
    if (turn > 500) throw new Error('never ends');
    const wish = wishes[turn];
    if (wish === 'hinder') play.hinder('of a test');
    else if (wish !== undefined && (wish !== 'continue' || play.state.phase === 'paused')) {
      play.wish(wish);
    }
    if (play.state.phase === 'paused') play.wish('continue');
    else if (play.state.phase === 'running') play.answer(answer);
  }
  return play;
}

/** Throws unless the end is what the hosts are. */
function checkEnd(given: Script): void {
  const { release, state, calls } = playOf(given);
  const stages = Object.values(state.hosts).map(({ stage }) => stage);
  const count = (stage: string): number => stages.filter((one) => one === stage).length;
  if (new Set(calls.map(({ word }) => word)).size !== calls.length) throw new Error('two words');
  if (state.calls.length > 0) throw new Error('calls after the end');
  switch (state.phase) {
    case 'done':
      if (stages.length !== release.batches.flat().length) throw new Error('a host left out');
      if (failuresOf(state) > release.maxFailures) throw new Error('too many failures');
      if (count('switched') + failuresOf(state) !== stages.length) throw new Error('a host lost');
      break;
    case 'rolled-back':
      if (count('switched') + count('broken') + count('lost') > 0) throw new Error('not back');
      break;
    case 'rollback-failed':
      if (count('switched') + count('broken') > 0) throw new Error('not tried');
      if (count('lost') === 0) throw new Error('nothing is lost');
      break;
    default:
  }
}

test('advance() comes to an end that is true, whatever hosts answer and people wish', (t) => {
  fc.assert(fc.property(script, checkEnd), { numRuns: 300 });
  t.pass();
});

/** Throws when somebody is told something twice, or the way is another than batch by batch, on and then back. */
function checkWay(given: Script): void {
  const { calls, release } = playOf({
    ...given,
    wishes: given.wishes.map((wish) => (wish === 'hinder' ? undefined : wish)),
  });
  const told = calls.flatMap(({ word, peers }) => {
    const step = word.split('/')[3]?.replace(/-.*/, '');
    return peers.map((peer) => `${step} ${peer}`);
  });
  if (new Set(told).size !== told.length) throw new Error('told twice');
  const batches = calls.map(({ word }) => Number(word.split('/')[2]));
  const isBack = calls.map(({ word }) => word.includes('rollback'));
  const turn = isBack.includes(true) ? isBack.indexOf(true) : calls.length;
  if (isBack.slice(turn).includes(false)) throw new Error('on after back');
  const on = batches.slice(0, turn);
  const back = batches.slice(turn);
  if (on.some((batch, at) => batch < (on[at - 1] ?? 0))) throw new Error('order of batches');
  if (back.some((batch, at) => batch > (back[at - 1] ?? Infinity))) throw new Error('way back');
  if (release.batches.length <= Math.max(...batches)) throw new Error('no such batch');
}

test('advance() tells a host each thing once, unless calls could not be made, and goes back for good', (t) => {
  fc.assert(fc.property(script, checkWay), { numRuns: 300 });
  t.pass();
});
