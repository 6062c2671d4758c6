'use strict';

var fs = require('node:fs');
var nodeModule = require('node:module');
var os = require('node:os');
var path = require('node:path');
var url = require('node:url');

/** True when `folder` is one that nobody but this user (and root) can write to. */
function isOwn(folder) {
  var stats = fs.statSync(folder);
  return stats.isDirectory() && stats.uid === process.geteuid() && (stats.mode & 0o022) === 0;
}

/** Makes Node keep compiled code in the user's own cache folder; whoever may write there decides what he runs. */
function cacheCode() {
  try {
    // HOME may be another user's: sudo can be told to leave it, and root must not run what that user left there.
    var folder = os.homedir();
    if (!isOwn(folder)) return;
    var names = ['.cache', 'odonata'];
    for (var index = 0; index < names.length; index += 1) {
      folder = path.join(folder, names[index]);
      fs.mkdirSync(folder, { mode: 0o700, recursive: true });
      if (!isOwn(folder)) return;
    }
    nodeModule.enableCompileCache(folder);
  } catch {
    // A user without a home folder (a container with a made-up uid), or one that is read-only, starts without a cache.
  }
}

/** Starts the built program. `cacheCode` keeps compiled code for the next start: half of the time it takes to load. */
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
