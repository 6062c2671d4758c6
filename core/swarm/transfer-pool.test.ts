import test from 'ava';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { SystemClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { SystemRandom } from '../base/random.ts';
import { TransferPool } from './transfer-pool.ts';

/** More than the bodies that one worker keeps open. */
const QUESTIONS = 520;

test('TransferPool.openOrigin() keeps nothing of an answer that nothing has changed', async (t) => {
  await using origin = await startOrigin({
    routes: { '/f': { content: { seed: 1, length: 10 } } },
  });
  await using pool = await TransferPool.start({
    workers: 1,
    origin: { allow: undefined, connectionsPerHost: 8 },
    clock: new SystemClock(),
    random: new SystemRandom(),
    log: silentLog,
    onAltered: () => undefined,
  });
  const { signal } = new AbortController();
  const request = { url: origin.url('/f'), headers: {} };
  await using whole = await pool.openOrigin(request, { signal });
  const condition = whole.head.validators;
  for (let question = 0; question < QUESTIONS; question += 1) {
    const { head } = await pool.openOrigin({ ...request, condition }, { signal });
    if (head.status !== 304) t.fail(`answer ${question} is ${head.status}`);
  }
  t.pass();
});
