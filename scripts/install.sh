#!/usr/bin/env bash
# install.sh | install.sh --uninstall: the program below PREFIX, `sovra` in BINDIR, a configuration, a systemd unit. Run it again to upgrade.
# For packagers: DESTDIR is put before every path that is written, never into what is written.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
: "${PREFIX:=/opt/sovrabase}" "${SYSCONFDIR:=/etc/sovrabase}" "${STATEDIR:=/var/lib/sovrabase}"
: "${BINDIR:=/usr/local/bin}" "${UNITDIR:=/etc/systemd/system}" "${DESTDIR:=}" "${START:=yes}"
unit=sovrabase.service

say() { printf '%s\n' "$*"; }
stop_with() {
  printf 'install: %s\n' "$*" >&2
  exit 2
}
# A build into a package or a scratch directory leaves the running system alone.
living() { [ -z "$DESTDIR" ] && [ "$START" = yes ] && [ -d /run/systemd/system ]; }

for path in "$PREFIX" "$SYSCONFDIR" "$STATEDIR" "$BINDIR" "$UNITDIR"; do
  [[ "$path" =~ ^/[A-Za-z0-9._/+-]+$ ]] || stop_with "'$path' is no absolute path of plain letters. Give another one."
done
[[ "$PREFIX" =~ ^/[^/]+/[^/]+ ]] || stop_with "PREFIX is replaced as a whole: '$PREFIX' is too near to the root."

if [ "${1:-}" = --uninstall ]; then
  if living; then systemctl disable --now "$unit" 2>/dev/null || true; fi
  rm -f "$DESTDIR$UNITDIR/$unit" "$DESTDIR$BINDIR/sovra"
  rm -rf "$DESTDIR$PREFIX" "$DESTDIR$PREFIX.new" "$DESTDIR$PREFIX.old"
  if living; then systemctl daemon-reload; fi
  say "Removed the program. Kept: data in $STATEDIR (its folder keys/ opens the secrets), configuration in $SYSCONFDIR."
  say "To remove these too, for ever: rm -rf $STATEDIR $SYSCONFDIR"
  exit 0
fi

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64 | Linux-amd64 | Linux-aarch64 | Linux-arm64) ;;
  *) stop_with "this is $(uname -s) on $(uname -m). Sovrabase brings PostgreSQL for Linux on x64 and arm64 only." ;;
esac
getconf GNU_LIBC_VERSION >/dev/null 2>&1 || stop_with 'this system has no glibc (Alpine?). Use Debian, Ubuntu, Fedora or another one with glibc.'
[ -d "$here/node_modules/@sovrabase" ] || stop_with 'what it needs is not here yet. Run: make install'
if [ -z "$DESTDIR" ] && [ "$(id -u)" -ne 0 ] && { [ ! -w "$(dirname "$PREFIX")" ] || [ ! -w "$UNITDIR" ]; }; then
  stop_with 'root writes there. Run: sudo make install'
fi

stage="$DESTDIR$PREFIX.new"
rm -rf "$stage"
mkdir -p "$stage/scripts"
# Only what runs: no tests, no tools of developers.
for name in package.json package-lock.json .npmrc LICENSE README.md README.fr.md CHANGELOG.md SECURITY.md config.example.yaml docs deploy; do
  if [ -e "$here/$name" ]; then cp -a "$here/$name" "$stage/"; fi
done
# PostgreSQL's own tools and pgvector, where `make tools` has fetched them.
if [ -d "$here/.cache/tools" ]; then
  mkdir "$stage/.cache"
  cp -a "$here/.cache/tools" "$stage/.cache/"
fi
cp -a "$here/scripts/node.sh" "$here/scripts/install.sh" "$stage/scripts/"
(cd "$here" && find packages -type f -not -path '*/node_modules/*' -not -name '*.test.ts' -not -name '*.testing.ts' -print0 | tar -c --null -T - -f -) | tar -x -f - -C "$stage"
bash "$here/scripts/node.sh" "$here/scripts/runtime-modules.ts" "$here" | (cd "$here" && tar -c --null -T - -f -) | tar -x -f - -C "$stage"
if [ "$(id -u)" -eq 0 ]; then chown -R root:root "$stage"; fi
chmod -R u+w,go-w,a+rX "$stage"

mkdir -p "$DESTDIR$BINDIR" "$DESTDIR$UNITDIR" "$DESTDIR$SYSCONFDIR"
[ -n "$DESTDIR" ] || mkdir -p -m 0751 "$STATEDIR"
if [ ! -e "$DESTDIR$SYSCONFDIR/config.yaml" ]; then
  sed -e "s|^# yaml-language-server: .*|# yaml-language-server: \$schema=$PREFIX/docs/config.schema.json|" \
    -e "s|^  #dir: data\$|  dir: $STATEDIR|" "$here/config.example.yaml" >"$DESTDIR$SYSCONFDIR/config.yaml.new"
  chmod 0640 "$DESTDIR$SYSCONFDIR/config.yaml.new"
  mv "$DESTDIR$SYSCONFDIR/config.yaml.new" "$DESTDIR$SYSCONFDIR/config.yaml"
  made="Made $SYSCONFDIR/config.yaml: every key with its default."
else
  made="Kept $SYSCONFDIR/config.yaml as it is."
fi
sed -e "s|@PREFIX@|$PREFIX|g" -e "s|@SYSCONFDIR@|$SYSCONFDIR|g" -e "s|@STATEDIR@|$STATEDIR|g" "$here/deploy/systemd/$unit" >"$DESTDIR$UNITDIR/$unit.new"
chmod 0644 "$DESTDIR$UNITDIR/$unit.new"
mv "$DESTDIR$UNITDIR/$unit.new" "$DESTDIR$UNITDIR/$unit"
cat >"$DESTDIR$BINDIR/sovra.new" <<SOVRA
#!/bin/bash
# Who may not read the configuration (it can hold passwords) is told so, or works with \`sovra login\`.
if [ -r $SYSCONFDIR/config.yaml ]; then export CONFIG_PATH="\${CONFIG_PATH:-$SYSCONFDIR/config.yaml}"; else export SOVRABASE_DATA_DIR="\${SOVRABASE_DATA_DIR:-$STATEDIR}"; fi
# As the unit: \`sovra start\` on a server makes no demo project either.
export SOVRABASE_DEMO="\${SOVRABASE_DEMO:-off}"
exec /bin/bash $PREFIX/scripts/node.sh $PREFIX/packages/cli/src/main.ts "\$@"
SOVRA
chmod 0755 "$DESTDIR$BINDIR/sovra.new"
mv "$DESTDIR$BINDIR/sovra.new" "$DESTDIR$BINDIR/sovra"

# The program last, in two renames: a running server has its files open or in memory until it is restarted below.
rm -rf "$DESTDIR$PREFIX.old"
if [ -e "$DESTDIR$PREFIX" ]; then mv "$DESTDIR$PREFIX" "$DESTDIR$PREFIX.old"; fi
mv "$stage" "$DESTDIR$PREFIX"
rm -rf "$DESTDIR$PREFIX.old"

say "Installed in $PREFIX, \`sovra\` in $BINDIR, data in $STATEDIR."
say "$made"
if living; then
  systemctl daemon-reload
  systemctl enable --quiet "$unit"
  if [ "${RELOAD:-no}" = yes ] && systemctl is-active --quiet "$unit"; then
    systemctl reload "$unit" || stop_with 'it could not be asked to take over. Look: journalctl -u sovrabase -n 50'
  else
    systemctl restart "$unit" || stop_with 'it did not start. Look: journalctl -u sovrabase -n 50'
  fi
  say 'It runs. The link of the first administrator: sudo sovra admin link'
else
  say "systemd does not run here: start it with \`sovra start\`, or at the next boot by the unit $UNITDIR/$unit (systemctl enable sovrabase)."
fi
