#!/usr/bin/env bash
# Types, lint, import rule, generated files fresh, unused code. Every check runs; one failure fails the whole.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
step() {
  local name=$1
  shift
  local out
  if out=$("$@" 2>&1); then
    echo "ok    $name"
  else
    failed=1
    echo "FAIL  $name"
    printf '%s\n' "$out" | tail -n 60
  fi
}
step 'types' bash scripts/node.sh node_modules/typescript/bin/tsc --noEmit
step 'lint' bash scripts/node.sh node_modules/@biomejs/biome/bin/biome check --error-on-warnings .
step 'imports' bash scripts/node.sh --test --test-reporter=dot test/imports.test.ts
step 'generated files' bash scripts/node.sh scripts/generate.ts --check
step 'unused code' bash scripts/node.sh node_modules/knip/bin/knip.js
exit $failed
