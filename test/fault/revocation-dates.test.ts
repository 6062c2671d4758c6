import test from 'ava';
import { HostKey } from '../../core/identity/host-key.ts';
import { TestSwarm } from '../support/swarm.ts';
import { until } from '../support/until.ts';

const HOUR_MS = 3_600_000;

test('a supernode dates its revocations for hosts that come, and anew with each that is added', async (t) => {
  await using swarm = await TestSwarm.start();
  const { authority } = swarm.supernode;
  const host = await swarm.host('host');
  await until(() => host.member?.client.isConnected === true);
  const way = host.member?.callWay();
  const problem = (): string | undefined =>
    way === undefined
      ? 'no member'
      : way.staleness({ now: way.now(), maxAgeMs: HOUR_MS, epoch: authority.epoch() });
  await until(() => problem() === undefined);
  const gone = HostKey.generate().peerId;
  await authority.revoke(gone);
  t.regex(problem() ?? '', /newer list/, 'this very moment the host cannot have heard');
  await until(() => problem() === undefined);
  t.true(way?.isRevoked(gone));
});
