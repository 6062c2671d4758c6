import test from 'ava';
import { readHtmlIndex } from './html-index.ts';
import type { ListedChild } from './walk-folders.ts';
import { readMultistatus } from './web-dav.ts';

const folder = new URL('http://o.example/pub/debs/');

/** The document in chunks of a few bytes, as the worst of networks would bring it. */
async function* chunked(text: string): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 7) yield bytes.subarray(at, at + 7);
}

type Reader = typeof readHtmlIndex;

async function read(reader: Reader, text: string, maxBytes = 1e6): Promise<ListedChild[]> {
  return Array.fromAsync(reader(chunked(text), folder, { maxBytes }));
}

async function namesOf(html: string): Promise<string[]> {
  const found = await read(readHtmlIndex, html);
  return found.map(({ kind, name, problem }) => problem ?? `${kind} ${name}`);
}

const indexes = {
  nginx:
    '<html><head><title>Index of /pub/debs/</title></head><body><h1>Index of /pub/debs/</h1><hr><pre>' +
    '<a href="../">../</a>\n<a href="sub%20dir/">sub dir/</a>   21-Nov-2026 10:00   -\n' +
    '<a href="a%20b%26c.deb">a b&amp;c.deb</a>   21-Nov-2026 10:00   12\n</pre><hr></body></html>',
  apache:
    '<table><tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>' +
    '<tr><td><img src="/icons/back.gif"></td><td><a href="/pub/">Parent Directory</a></td></tr>' +
    '<tr><td><a href="a%20b&amp;c.deb"><img></a></td><td><a href="a%20b&amp;c.deb">a b&amp;c.deb</a></td></tr>' +
    '<tr><td><a href="sub%20dir/">sub dir/</a></td></tr></table>',
  caddy:
    '<a href="../">..</a><a href="./?sort=name&order=desc">Name</a>' +
    '<a href="./a%20b&c.deb">a b&c.deb</a><a href="./sub%20dir/">sub dir</a>',
  python:
    '<ul>\n<li><a href="a%20b%26c.deb">a b&amp;c.deb</a></li>\n<li><a href="sub%20dir/">sub dir/</a></li>\n</ul>',
};

for (const [server, html] of Object.entries(indexes)) {
  test(`readHtmlIndex() reads the page of ${server}`, async (t) => {
    t.deepEqual((await namesOf(html)).toSorted(), ['file a b&c.deb', 'folder sub dir']);
  });
}

test('readHtmlIndex() takes nothing that is not directly below the folder', async (t) => {
  const links = [
    '..',
    '../../etc/passwd',
    '/etc/passwd',
    '%2e%2e/x',
    '..%2fx/y',
    String.raw`..\x`,
    'a/b',
    'a//',
    'http://other.example/pub/debs/x',
    'https://o.example/pub/debs/x',
    'http://u:p@o.example/pub/debs/x',
    '//other.example/pub/debs/x',
    'javascript:alert(1)',
    'mailto:x@y',
    '?x',
    'x?y',
    '#x',
    '.',
    '',
    'x'.repeat(9_000),
  ];
  const html = links.map((href) => `<a href="${href}">x</a>`).join('');
  t.deepEqual(await namesOf(html), []);
});

test('readHtmlIndex() passes names on as they are, for others to refuse', async (t) => {
  const html = '<a href="a%2Fb">x</a><a href="a%00b">x</a><a href="%ff">x</a><A HREF="ok#x">x</A>';
  const expected = ['file a/b', 'file a\0b', 'a name that is not UTF-8', 'file ok'];
  t.deepEqual(await namesOf(html), expected);
});

test('readHtmlIndex() knows its own folder in whatever encoding', async (t) => {
  const odd = new URL("http://o.example/ü'+/");
  const html =
    '<a href="/%c3%bc%27%2B/x">x</a><a href="/%c3%bc%27/y">y</a><a href="/%c3%bc%27%2B/">.</a>';
  const found = await Array.fromAsync(readHtmlIndex(chunked(html), odd, { maxBytes: 1e6 }));
  t.deepEqual(found, [{ kind: 'file', name: 'x', location: 'http://o.example/%c3%bc%27%2B/x' }]);
});

test('readHtmlIndex() stops at its bound', async (t) => {
  await t.throwsAsync(read(readHtmlIndex, '<p>'.repeat(1_000), 100), { code: 'ERR_LISTING' });
});

const PROPS = '<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>';
const multistatus = `<?xml version="1.0"?><D:multistatus xmlns:D="DAV:" xmlns:lp1="DAV:">
  <D:response><D:href>/pub/debs/</D:href><D:propstat><D:prop><lp1:resourcetype><D:collection/></lp1:resourcetype></D:prop>${PROPS}
  <D:response><D:href>/pub/debs/sub</D:href><D:propstat><D:prop><lp1:resourcetype><D:collection></D:collection></lp1:resourcetype></D:prop>${PROPS}
  <D:response><D:href>http://o.example/pub/debs/a%20b.deb</D:href><D:propstat><D:prop><lp1:resourcetype/>
    <lp1:getcontentlength>12</lp1:getcontentlength><lp1:getetag>"e&amp;1"</lp1:getetag></D:prop>
    <D:status>HTTP/1.1 200 OK</D:status></D:propstat>
    <D:propstat><D:prop><lp1:getlastmodified>never</lp1:getlastmodified></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>
  <D:response><D:href>/etc/passwd</D:href><D:propstat><D:prop/>${PROPS}
  <D:response><D:href>/pub/debs/x/y</D:href><D:propstat><D:prop/>${PROPS}
</D:multistatus>`;

test('readMultistatus() tells files from folders, and takes properties that were found only', async (t) => {
  const found = await read(readMultistatus, multistatus);
  t.deepEqual(
    found.map(({ kind, name, length }) => [kind, name, length]),
    [
      ['folder', 'sub', undefined],
      ['file', 'a b.deb', 12],
    ],
  );
  t.deepEqual(found[1]?.validators, { etag: '"e&1"', lastModified: undefined });
});

test('readMultistatus() refuses a listing that was cut off, and expands no entities', async (t) => {
  for (const text of ['', multistatus.slice(0, -20), '<html></html>']) {
    await t.throwsAsync(read(readMultistatus, text), { code: 'ERR_LISTING' }, text.slice(0, 9));
  }
  const bomb =
    '<!DOCTYPE x [<!ENTITY a "zzzz"><!ENTITY b "&a;&a;">]><multistatus><response>' +
    '<href>/pub/debs/&b;</href></response></multistatus>';
  const [child] = await read(readMultistatus, bomb);
  t.is(child?.name, '&b;');
});
