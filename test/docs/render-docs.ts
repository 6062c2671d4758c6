/** `npm run docs`: writes the generated documents. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checkout, generatedDocs } from './generated-docs.ts';

for (const [path, text] of generatedDocs()) {
  await writeFile(join(checkout, path), text);
  process.stdout.write(`${path}\n`);
}
