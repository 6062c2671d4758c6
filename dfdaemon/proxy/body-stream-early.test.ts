import { createHash, randomBytes } from 'node:crypto';
import test from 'ava';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { SystemRandom } from '../../core/base/random.ts';
import { AddressGuard } from '../../core/origin/address-guard.ts';
import { OriginConnections } from '../../core/origin/origin-connections.ts';
import type { OpenContent } from '../../core/swarm/open-content.ts';
import { BodyStreams } from './body-stream.ts';

const MIB = 1024 * 1024;
const clock = new SystemClock();
const never = new AbortController().signal;

for (const isRight of [true, false]) {
  const how = isRight ? 'right' : 'wrong';
  test(`a body whose first bytes were ${how}, and never verified, is checked to its end when the mesh stalls`, async (t) => {
    await using origin = await startOrigin();
    const bytes = randomBytes(MIB);
    origin.set('/f', { content: { bytes } });
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    const early = isRight ? bytes.subarray(0, 1000) : randomBytes(1000);
    /** The mesh gives the first bytes of the first piece, before it is verified, and then nothing. */
    const content: OpenContent = {
      task: 't',
      version: 'v',
      shape: { version: 'v', pieceLength: 256 * 1024, length: MIB, validators: {} },
      length: MIB,
      lengthKnown: async () => MIB,
      readyUntil: (start) => start,
      async *read({ start }, { isEarly }) {
        if (isEarly === true && start === 0) yield early;
        throw new CodedError('ERR_STALLED', 'nothing comes');
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
    const guard = new AddressGuard({ allow: ['127.0.0.0/8'] });
    await using connections = new OriginConnections({ guard, clock });
    const bodies = new BodyStreams({ clock, random: new SystemRandom(), log: silentLog });
    const request = { url: origin.url('/f'), digest };
    const wanted = { content, request, range: { start: 0 }, connections };
    const got: Uint8Array[] = [];
    const read = async (): Promise<void> => {
      for await (const chunk of bodies.body(wanted, { signal: never })) got.push(chunk);
    };
    if (isRight) {
      await read();
      t.true(bytes.equals(Buffer.concat(got)));
    } else {
      await t.throwsAsync(read(), { code: 'ERR_DIGEST_MISMATCH' });
      t.true(Buffer.concat(got).length < MIB);
    }
  });
}
