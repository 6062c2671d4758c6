/** Bounds of a script that hosts are called to run. */
export const scriptLimits = { bytes: 1_048_576, args: 250 } as const;
