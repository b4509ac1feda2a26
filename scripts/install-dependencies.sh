#!/usr/bin/env bash
# npm ci with the arguments given; says what to do where the registry cannot be reached. Exit codes: 0 done, 1 failed, 2 npm is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case "${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}" in fr*) language=fr ;; *) language=en ;; esac
say() { if [ "$language" = fr ]; then printf '%s\n' "$2" >&2; else printf '%s\n' "$1" >&2; fi; }

if ! command -v npm >/dev/null; then
  say 'npm is missing: install Node 20 or newer with npm (apt install npm), then run this again.' \
    "npm manque : installez Node 20 ou plus récent avec npm (apt install npm), puis relancez."
  echo 'code: program_missing' >&2
  exit 2
fi

output="$(mktemp)"
trap 'rm -f "$output"' EXIT
if npm ci --ignore-scripts --prefer-offline --no-fund --no-audit --loglevel=error "$@" 2> >(tee "$output" >&2); then exit 0; fi
sleep 0.1
if grep -qE 'ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|network|CERT|certificate|E407|407' "$output"; then
  registry="$(npm config get registry 2>/dev/null || echo '?')"
  say "The npm registry $registry cannot be reached. Behind a proxy: export HTTPS_PROXY=http://proxy.example:3128 (or: npm config set proxy …).
With a registry of your own: npm config set registry https://npm.example/. With a certificate of your own: export NODE_EXTRA_CA_CERTS=/path/ca.pem.
Nothing was started and no data was touched. Run it again." \
    "Le registre npm $registry est injoignable. Derrière un proxy : export HTTPS_PROXY=http://proxy.exemple:3128 (ou : npm config set proxy …).
Avec votre propre registre : npm config set registry https://npm.exemple/. Avec votre propre certificat : export NODE_EXTRA_CA_CERTS=/chemin/ca.pem.
Rien n'a été démarré, aucune donnée touchée. Relancez."
  echo 'code: registry_unreachable' >&2
fi
exit 1
