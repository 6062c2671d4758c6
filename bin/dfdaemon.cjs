#!/usr/bin/env node
'use strict';

// Old syntax on purpose: an old Node must get as far as the sentence below.
var version = process.versions.node.split('.').map(Number);

if (version[0] < 24 || (version[0] === 24 && version[1] < 12)) {
  process.stderr.write(
    'dfdaemon needs Node 24.12 or newer, this is ' + process.versions.node + '.\n',
  );
  process.exitCode = 1;
} else {
  require('./launch.cjs').launch('dfdaemon', 'dfdaemon/main', { cacheCode: false });
}
