import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '../../../test/support/temporary-folder.ts';
import { awsSettings } from './aws-settings.ts';
import type { AwsSettings, AwsWishes } from './aws-settings.ts';

const CONFIG = `
[default]
region = eu-west-1
[profile work]
region = us-west-2
endpoint_url = http://minio:9000
s3 =
  addressing_style = path
[profile sso]
sso_session = corp
[profile half]
aws_access_key_id = A
`;
const KEYS = `# keys
[default]
aws_access_key_id = DEFAULT
aws_secret_access_key = default/secret=
[work]
aws_access_key_id=WORK
aws_secret_access_key=work-secret
aws_session_token=token
`;

function settings(wishes: Partial<AwsWishes> = {}): Promise<AwsSettings> {
  const home = temporaryFolder('aws');
  mkdirSync(join(home, '.aws'));
  writeFileSync(join(home, '.aws', 'config'), CONFIG);
  writeFileSync(join(home, '.aws', 'credentials'), KEYS);
  return awsSettings({ isSigned: true, env: {}, home, ...wishes });
}

test('awsSettings() looks where the tools of Amazon look, and in their order', async (t) => {
  t.like(await settings(), {
    region: 'eu-west-1',
    endpoint: undefined,
    credentials: { accessKey: 'DEFAULT', secretKey: 'default/secret=' },
  });
  const work = {
    region: 'us-west-2',
    endpoint: 'http://minio:9000',
    credentials: { accessKey: 'WORK', secretKey: 'work-secret', sessionToken: 'token' },
  };
  t.like(await settings({ profile: 'work' }), work);
  t.like(await settings({ env: { AWS_PROFILE: 'work' } }), work);
  const env = {
    AWS_ACCESS_KEY_ID: 'ENV',
    AWS_SECRET_ACCESS_KEY: 'env-secret',
    AWS_REGION: 'ap-south-1',
    AWS_ENDPOINT_URL: 'http://e',
  };
  t.like(await settings({ env }), {
    region: 'ap-south-1',
    endpoint: 'http://e',
    credentials: { accessKey: 'ENV', secretKey: 'env-secret' },
  });
  t.is((await settings({ env, profile: 'work' })).credentials?.accessKey, 'WORK');
  const said = { credentials: 'K:S:T:1', region: 'r', endpoint: 'http://x' };
  t.like(await settings({ env, ...said }), {
    region: 'r',
    endpoint: 'http://x',
    credentials: { accessKey: 'K', secretKey: 'S', sessionToken: 'T:1' },
  });
});

test('awsSettings() asks as everybody where there is nobody to be', async (t) => {
  const home = temporaryFolder('aws');
  t.like(await settings({ home }), { region: 'us-east-1', credentials: undefined });
  t.is((await settings({ isSigned: false })).credentials, undefined);
});

test('awsSettings() says what is wrong, and nothing that is secret', async (t) => {
  const cases: [Partial<AwsWishes>, RegExp][] = [
    [{ profile: 'nobody' }, /no profile "nobody"/],
    [{ profile: 'sso' }, /credentials by sso_session/],
    [{ profile: 'half' }, /not both/],
    [{ env: { AWS_ACCESS_KEY_ID: 'A' } }, /the environment has one of/],
    [{ credentials: 'hunter2' }, /--s3-credentials: expected/],
    [{ env: { AWS_CONFIG_FILE: '/dev' } }, /cannot read \/dev/],
  ];
  for (const [wishes, message] of cases) {
    const error = await t.throwsAsync(settings(wishes), { code: 'ERR_CONFIG', message });
    t.false(error.message.includes('hunter2'));
  }
});
