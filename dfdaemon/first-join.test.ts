import test from 'ava';
import { ManualClock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/error.ts';
import { silentLog } from '../core/base/log.ts';
import { firstJoin } from './first-join.ts';

interface Member {
  hasJoined: boolean;
  client: { lastError: CodedError | undefined };
}

const never = new AbortController().signal;

function stranger(): Member {
  return { hasJoined: false, client: { lastError: undefined } };
}

async function turn(clock: ManualClock): Promise<void> {
  clock.advance(100);
  await new Promise((resolve) => setImmediate(resolve));
}

test('firstJoin() throws what the supernode has against the token', async (t) => {
  for (const code of ['ERR_TOKEN', 'ERR_TOKEN_GRANT', 'ERR_SIGNATURE'] as const) {
    const clock = new ManualClock();
    const member = stranger();
    const joined = firstJoin(member, { clock, log: silentLog, signal: never });
    await turn(clock);
    member.client.lastError = new CodedError(code, 'the join token has expired');
    await turn(clock);
    await t.throwsAsync(joined, { code, message: /--join-token.*has expired/ });
  }
});

test('firstJoin() waits for a supernode that does not answer, and ends with the membership', async (t) => {
  const clock = new ManualClock();
  const member = stranger();
  const warnings: object[] = [];
  const log = { ...silentLog, warn: (facts: object) => void warnings.push(facts) };
  const joined = firstJoin(member, { clock, log, signal: never });
  member.client.lastError = new CodedError('ERR_MESH_UNAVAILABLE', 'nobody answers');
  for (let count = 0; count < 10; count += 1) await turn(clock);
  member.hasJoined = true;
  // Whatever is refused after that is no reason to stop.
  member.client.lastError = new CodedError('ERR_TOKEN', 'expired');
  await turn(clock);
  await t.notThrowsAsync(joined);
  t.deepEqual(warnings, [{ code: 'ERR_MESH_UNAVAILABLE', reason: 'nobody answers' }]);
});

test('firstJoin() ends with the program', async (t) => {
  const stop = new AbortController();
  const joined = firstJoin(stranger(), {
    clock: new ManualClock(),
    log: silentLog,
    signal: stop.signal,
  });
  stop.abort();
  await t.throwsAsync(joined, { name: 'AbortError' });
});
