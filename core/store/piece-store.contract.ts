import type { TestFn } from 'ava';
import type { StorageKind } from '../../test/support/data-folders.ts';
import { testPieceStoreDigests } from './piece-store-digests.contract.ts';
import { testPieceStoreEdits } from './piece-store-edits.contract.ts';
import { testPieceStoreOpening } from './piece-store-opening.contract.ts';
import { testPieceStoreRoom } from './piece-store-room.contract.ts';
import { testPieceStoreTasks } from './piece-store-tasks.contract.ts';

/** The promises of a piece store, for a data folder on any kind of storage. */
export function testPieceStore(test: TestFn, kind: StorageKind): void {
  testPieceStoreOpening(test, kind);
  testPieceStoreTasks(test, kind);
  testPieceStoreDigests(test, kind);
  testPieceStoreEdits(test, kind);
  testPieceStoreRoom(test, kind);
}
