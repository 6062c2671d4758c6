import test from 'ava';
import { CodedError } from '../base/error.ts';
import { waitReason } from './wait-reason.ts';

const open = { isOpen: true, isBanned: false, lastError: undefined };
const closed = { isOpen: false, isBanned: false, lastError: undefined };
const away = { ...closed, lastError: new CodedError('ERR_LINK', 'no route') };
const liar = { ...open, isBanned: true };
const idle = { isSupervised: true, isAsked: false, isWanted: true };

test('waitReason() says what is waited for', (t) => {
  const cases: readonly (readonly [Partial<Parameters<typeof waitReason>[0]>, RegExp])[] = [
    [{ parents: [open], isAsked: true }, /asked and bring nothing/],
    [{ parents: [away], isSupervised: false }, /no supernode and no linked host/],
    [{ parents: [] }, /no parents yet/],
    [{ parents: [liar, liar] }, /wrong pieces/],
    [{ parents: [closed] }, /links to parents/],
    [{ parents: [closed, away] }, /no parent reachable: no route/],
    [{ parents: [open, liar], isWanted: false }, /the seed has nothing new/],
    [{ parents: [open] }, /none of them has a piece/],
  ];
  for (const [state, reason] of cases) {
    t.regex(waitReason({ parents: [], ...idle, ...state }), reason);
  }
});
