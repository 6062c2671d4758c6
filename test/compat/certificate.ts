import { join } from 'node:path';
import { outputOf } from '../../bench/cluster/command.ts';
import type { Workplace } from '../../bench/cluster/workplace.ts';

/** Files in PEM of a key and the certificate over it, which vouches for itself. */
export interface Certificate {
  readonly keyFile: string;
  readonly certificateFile: string;
}

/** Makes one for `subject` (`DNS:name` or `IP:address`), valid for two days, in a folder named `name`. */
export async function makeCertificate(
  workplace: Workplace,
  options: { readonly name: string; readonly subject: string },
): Promise<Certificate> {
  const folder = await workplace.subfolder(options.name);
  const keyFile = join(folder, 'key.pem');
  const certificateFile = join(folder, 'certificate.pem');
  const argv = ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt'];
  argv.push('ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', `/CN=${options.name}`);
  argv.push('-addext', `subjectAltName=${options.subject}`);
  argv.push('-keyout', keyFile, '-out', certificateFile);
  await outputOf(argv, { guard: workplace.guard, env: workplace.env });
  return { keyFile, certificateFile };
}
