import { join } from 'node:path';
import { checkout } from '../../bench/cluster/installation.ts';

/** What is fetched once and kept between runs; not part of the checkout, gone with `node_modules`. */
const cache = join(checkout, 'node_modules', '.cache', 'odonata-compat');

/** Root of a file tree with the dockerd of the next Debian, which has the containerd image store. */
export const nextDocker = join(cache, 'next-docker');

/** Where the server that speaks S3 is installed, and its program. */
export const s3Folder = join(cache, 's3');
export const s3Server = join(s3Folder, 'node_modules', 's3rver', 'bin', 's3rver.js');
