import test from 'ava';
import { Doubts } from './doubts.ts';

test('Doubts.note() has a host looked at for one child, and withheld for two', (t) => {
  const doubts = new Doubts();
  t.is(doubts.note({ child: 'a', parent: 'gone' }, 0), 'look');
  t.is(
    doubts.note({ child: 'a', parent: 'gone' }, 100),
    'nothing',
    'the same child says nothing new',
  );
  t.is(doubts.note({ child: 'b', parent: 'gone' }, 200), 'withhold');
  t.is(doubts.note({ child: 'b', parent: 'other' }, 300), 'look');
});

test('Doubts.note() forgets: children that lose a host at different times are no two', (t) => {
  const doubts = new Doubts();
  t.is(doubts.note({ child: 'a', parent: 'host' }, 0), 'look');
  t.is(doubts.note({ child: 'b', parent: 'host' }, 10_001), 'look');
});

test('Doubts.note() does not take the word of hosts that lose everybody: they are cut off themselves', (t) => {
  const doubts = new Doubts();
  const said = ['a', 'b'].flatMap((child) =>
    Array.from({ length: 20 }, (_item, at) => doubts.note({ child, parent: `parent-${at}` }, at)),
  );
  t.is(said.filter((verdict) => verdict === 'withhold').length, 4, 'the first ones only');
  t.is(doubts.note({ child: 'c', parent: 'parent-19' }, 30), 'nothing', 'nor does it count later');
});

test('Doubts.note() does not let a host speak against itself', (t) => {
  t.is(new Doubts().note({ child: 'a', parent: 'a' }, 0), 'nothing');
});
