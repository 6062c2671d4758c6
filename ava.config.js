// Unit tests: beside the code, in worker threads, no processes of their own.
export default {
  extensions: ['ts'],
  files: [
    'core/**/*.test.ts',
    'supernode/**/*.test.ts',
    'dfdaemon/**/*.test.ts',
    'dfget/**/*.test.ts',
    'ops/**/*.test.ts',
    'bench/**/*.test.ts',
  ],
  require: ['./test/support/property-seed.ts'],
  timeout: '180s',
};
