#!/usr/bin/env bash
# Runs its arguments with the Node that the lockfile pins, else with one of the system's that is new enough.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
oldest_major=24 oldest_minor=8

case "$(uname -m)" in
  x86_64 | amd64) arch=x64 ;;
  aarch64 | arm64) arch=arm64 ;;
  *) arch=none ;;
esac

new_enough() {
  local version major minor
  version="$("$1" --version 2>/dev/null)" || return 1
  version="${version#v}"
  major="${version%%.*}"
  minor="${version#*.}"
  minor="${minor%%.*}"
  [[ "$major" =~ ^[0-9]+$ && "$minor" =~ ^[0-9]+$ ]] || return 1
  ((major > oldest_major || (major == oldest_major && minor >= oldest_minor)))
}

node="$here/node_modules/node-linux-$arch/bin/node"
if ! { [ -x "$node" ] && new_enough "$node"; }; then
  node="$(command -v node || true)"
  if [ -z "$node" ] || ! new_enough "$node"; then
    found="$([ -n "$node" ] && "$node" --version 2>/dev/null || echo none)"
    case "${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}" in
      fr*) echo "Sovrabase demande Node $oldest_major.$oldest_minor ou plus récent (trouvé : $found). Lancez \`npm ci\` dans $here, qui l'apporte, ou installez Node $oldest_major." >&2 ;;
      *) echo "Sovrabase needs Node $oldest_major.$oldest_minor or newer (found: $found). Run \`npm ci\` in $here, which brings it, or install Node $oldest_major." >&2 ;;
    esac
    echo 'code: node_too_old' >&2
    exit 2
  fi
fi

# Compiled sources are kept: a start takes about a quarter of the time. Where the checkout is read-only, beside the data; but not as root,
# since the server may write there and what root runs must not come from it.
if [ -z "${NODE_COMPILE_CACHE:-}" ]; then
  for folder in "$here/.cache/compile" "${SOVRABASE_DATA_DIR:-$PWD/data}/cache/compile"; do
    if { [ -d "$folder" ] || { [ -w "$here" ] && [ "$folder" = "$here/.cache/compile" ] && mkdir -p "$folder" 2>/dev/null; }; } && [ -w "$folder" ] &&
      { [ "$(id -u)" -ne 0 ] || [ "$(stat -c %u "$folder")" -eq 0 ]; }; then
      export NODE_COMPILE_CACHE="$folder"
      break
    fi
  done
fi

exec "$node" "$@"
