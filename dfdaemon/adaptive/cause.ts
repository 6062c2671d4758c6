/** Why a ceiling is what it is; a closed set, so that it may label a metric. The words are what a person is told. */
export const causes = {
  starting: 'nothing was seen yet',
  idle: 'this host uses next to nothing of it',
  alone: 'no other program of this machine uses it',
  learning: 'other programs use it, and what it carries is being learned',
  unhurt: 'other programs use it, and nobody waits',
  'not in the way': 'other programs use it, and were no faster when this host went slower',
  yielding: 'other programs of this machine use it',
  trying: 'other programs of this machine use it, and it is tried whether more goes through',
} as const;

/** One of them. */
export type Cause = keyof typeof causes;
