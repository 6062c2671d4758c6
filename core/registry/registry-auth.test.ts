import test from 'ava';
import { answerChallenge, parseChallenge } from './registry-auth.ts';

const image = { base: 'https://registry.test', repository: 'lab/app', reference: 'v1' };
const signal = new AbortController().signal;

test('parseChallenge() reads what registries send, whatever the order and case', (t) => {
  const bearer = { scheme: 'bearer', realm: 'https://auth.test/token', service: 's' };
  const cases: [string, unknown][] = [
    ['Bearer realm="https://auth.test/token",service="s",scope="repository:a:pull"', bearer],
    ['bearer service=s, realm="https://auth.test/token"', bearer],
    ['Bearer realm="https://auth.test/token"', { ...bearer, service: undefined }],
    ['Basic realm="x, y"', { scheme: 'basic' }],
    ['Negotiate', undefined],
    ['', undefined],
    ['Negotiate, Basic realm="x"', { scheme: 'basic' }],
  ];
  for (const [header, expected] of cases) t.deepEqual(parseChallenge(header), expected, header);
});

test('answerChallenge() asks the token server for one repository, as the user', async (t) => {
  const asked: { url: string; headers: Readonly<Record<string, string>> }[] = [];
  const ask = async (url: string, headers: Readonly<Record<string, string>>): Promise<string> => {
    asked.push({ url, headers });
    return JSON.stringify({
      access_token: 'given',
      ...(asked.length > 2 ? { expires_in: 300 } : {}),
    });
  };
  const given = { authorization: 'Bearer given', seconds: 60 };
  const challenge = { scheme: 'bearer', realm: 'https://auth.test/t?x=1', service: 's' } as const;
  const credentials = { username: 'alice', password: 'pa:ss' };
  t.deepEqual(await answerChallenge(challenge, { image, credentials, ask }, { signal }), given);
  const nobody = { image, credentials: undefined, ask };
  t.deepEqual(await answerChallenge(challenge, nobody, { signal }), given);
  const url = 'https://auth.test/t?x=1&service=s&scope=repository%3Alab%2Fapp%3Apull';
  const authorization = `Basic ${Buffer.from('alice:pa:ss').toString('base64')}`;
  t.deepEqual(asked, [
    { url, headers: { authorization } },
    { url, headers: {} },
  ]);
  const token = { token: 'mine' };
  t.deepEqual(await answerChallenge(challenge, { image, credentials: token, ask }, { signal }), {
    authorization: 'Bearer mine',
    seconds: undefined,
  });
  t.is(asked.length, 2);
  const nowhere = { ...nobody, image: { ...image, repository: '' } };
  t.like(await answerChallenge(challenge, nowhere, { signal }), { seconds: 300 });
  t.is(asked[2]?.url, 'https://auth.test/t?x=1&service=s');
});

test('answerChallenge() sends no password in the clear for a registry that is https', async (t) => {
  const ask = async (): Promise<never> => t.fail();
  const credentials = { username: 'alice', password: 'p' };
  for (const realm of ['http://auth.test/token', 'file:///etc/passwd', 'nonsense']) {
    const challenge = { scheme: 'bearer', realm, service: undefined } as const;
    await t.throwsAsync(answerChallenge(challenge, { image, credentials, ask }, { signal }), {
      code: 'ERR_ORIGIN_FAILING',
    });
  }
});
