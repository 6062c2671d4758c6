import test from 'ava';
import { renderTable } from './table.ts';

test('renderTable() aligns words to the left, numbers to the right, and leaves missing cells empty', (t) => {
  const rows = [
    { host: 'a', seconds: '9.50', note: 'equal' },
    { host: 'host-10', seconds: '10.25' },
  ];
  const lines = [
    'host     seconds  note',
    '-------  -------  -----',
    'a           9.50  equal',
    'host-10    10.25',
    '',
  ];
  t.is(renderTable(['host', 'seconds', 'note'], rows), lines.join('\n'));
});

test('renderTable() shows the columns of no rows', (t) => {
  t.is(renderTable(['a', 'bc'], []), 'a  bc\n-  --\n');
});
