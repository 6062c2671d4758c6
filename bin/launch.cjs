'use strict';

var fs = require('node:fs');
var nodeModule = require('node:module');
var os = require('node:os');
var path = require('node:path');
var url = require('node:url');

function cacheCode() {
  try {
    nodeModule.enableCompileCache(path.join(os.homedir(), '.cache', 'odonata'));
  } catch {
    // A user without a home folder (a container with a made-up uid) starts without a cache.
  }
}

/**
 * Starts the built program. `cacheCode` keeps compiled code for the next start, in the user's own cache folder:
 * Node's default place is shared by all users, and whoever may write it decides what others run.
 */
exports.launch = function launch(name, entry, options) {
  var file = path.join(__dirname, '..', 'dist', entry + '.js');
  if (!fs.existsSync(file)) {
    var source = path.join(__dirname, '..', entry + '.ts');
    var advice = fs.existsSync(source)
      ? 'is not built: run "npm run build", or "node ' + entry + '.ts"'
      : 'is not part of this package';
    process.stderr.write(name + ' ' + advice + '.\n');
    process.exitCode = 1;
    return;
  }
  if (options.cacheCode) cacheCode();
  import(url.pathToFileURL(file).href).catch(function (error) {
    process.stderr.write(name + ' cannot start: ' + (error.stack || error) + '\n');
    process.exitCode = 1;
  });
};
