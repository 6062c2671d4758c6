import test from 'ava';
import { accessSync, constants } from 'node:fs';
import { testPieceStore } from './piece-store.contract.ts';

testPieceStore(test, { name: 'disk', parent: undefined });
// The memory storage kind: a folder on a tmpfs.
if (isWritable('/dev/shm')) testPieceStore(test, { name: 'tmpfs', parent: '/dev/shm' });

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
