#!/usr/bin/env bash
# Runs the tests: all of them, or the files (or globs) given. Options that begin with a dash go to `node --test`.
# Closing line: `N passed, N failed[, N skipped]`. CI=true: what would be skipped for want of a tool fails.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
for dir in "$root"/node_modules/node-linux-*/bin; do
  [ -x "$dir/node" ] && PATH="$dir:$PATH"
done
# Where Go's own archive installs itself; a bare PATH lacks it.
PATH="$PATH:/usr/local/go/bin"
export PATH NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$root/.cache/compile}"
exec node "$root/scripts/test.ts" "$@"
