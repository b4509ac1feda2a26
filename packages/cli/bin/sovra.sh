#!/usr/bin/env bash
# Finds itself through npm's link, wherever it is called from.
set -euo pipefail
here="$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
exec bash "$here/../../../scripts/node.sh" "$here/../src/main.ts" "$@"
