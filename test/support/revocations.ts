import type { Revocations } from '../../ops/control/host-table.ts';

/** Of a cell in which nobody is put out: an attempt is a mistake of the test. */
export const nobodyRevoked: Revocations = {
  isRevoked: () => false,
  epoch: () => undefined,
  checkRoom: () => undefined,
  revoke: async (peer) => {
    throw new TypeError(`nobody expected that ${peer} is put out`);
  },
};
