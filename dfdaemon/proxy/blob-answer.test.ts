import test from 'ava';
import { planBlobAnswer } from './blob-answer.ts';

const blob = { digest: 'sha256:1', length: 100 };
const nothing = { range: undefined, ifRange: undefined, ifNoneMatch: undefined };

test('planBlobAnswer() gives the length of exactly what it sends, text between the parts included', (t) => {
  const { status, headers, body } = planBlobAnswer({ ...nothing, range: 'bytes=0-9,90-' }, blob);
  t.is(status, 206);
  const bytes = body.reduce(
    (sum, part) => sum + ('text' in part ? part.text.length : part.end - part.start),
    0,
  );
  t.is(headers['content-length'], `${bytes}`);
  const boundary = /^multipart\/byteranges; boundary=(.+)$/.exec(
    headers['content-type'] ?? '',
  )?.[1];
  const shown = body.map((part) => ('text' in part ? part.text : `<${part.start}-${part.end}>`));
  const head = (range: string): string =>
    `--${boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes ${range}/100\r\n\r\n`;
  t.is(shown.join(''), `${head('0-9')}<0-10>\r\n${head('90-99')}<90-100>\r\n--${boundary}--\r\n`);
});

test('planBlobAnswer() answers 416 with the length of the content and a body of none', (t) => {
  const { status, headers, body } = planBlobAnswer({ ...nothing, range: 'bytes=100-' }, blob);
  t.is(status, 416);
  t.like(headers, { 'content-range': 'bytes */100', 'content-length': '0' });
  t.deepEqual(body, []);
});

test('planBlobAnswer() gives everything when the range is of another version, and nothing that is known', (t) => {
  const range = 'bytes=1-2';
  t.is(planBlobAnswer({ ...nothing, range, ifRange: '"sha256:1"' }, blob).status, 206);
  t.is(planBlobAnswer({ ...nothing, range, ifRange: '"sha256:2"' }, blob).status, 200);
  t.is(planBlobAnswer({ ...nothing, range, ifNoneMatch: '"sha256:1"' }, blob).status, 304);
  t.deepEqual(planBlobAnswer(nothing, { ...blob, length: 0 }).body, []);
});
