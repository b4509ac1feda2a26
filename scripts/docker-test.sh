#!/usr/bin/env bash
# make docker-test [BASE_IMAGE=…]: builds the image, runs it, uses it, restarts it, stops it under load. On the Docker engine that answers, else on
# one of its own (root, docker.io installed), whose base image is imported from a Debian made by debootstrap: nothing is pulled.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
cd "$here"
work="${DOCKER_TEST_DIR:-$(mktemp -d /tmp/sovra-docker-XXXXXX)}"
name="sovrabase-test-$$"
image="sovrabase:test-$$"
port="${PORT:-18080}"
engine=''
say() { printf '%s %s\n' "$(date +%T)" "$*"; }
die() {
  say "FAILED: $*" >&2
  docker logs --tail 40 "$name" >&2 2>/dev/null || true
  exit 1
}
finish() {
  docker rm -f "$name" >/dev/null 2>&1 || true
  docker volume rm "$name" >/dev/null 2>&1 || true
  docker rmi "$image" >/dev/null 2>&1 || true
  if [ -n "$engine" ]; then kill "$engine" 2>/dev/null || true; wait "$engine" 2>/dev/null || true; fi
  # The engine leaves the mount of its network namespace behind.
  awk -v below="$work/" 'index($2, below) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do umount "$mount" || true; done
  [ -n "${DOCKER_TEST_DIR:-}" ] || rm -rf "$work"
}
trap finish EXIT

if ! docker version >/dev/null 2>&1; then
  command -v dockerd >/dev/null || die 'no Docker engine answers, and dockerd is not installed'
  export DOCKER_HOST="unix://$work/docker.sock"
  # The rules of the machine's firewall are none of its business: the containers below use the network of the host.
  dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" --bridge=none --iptables=false \
    --storage-driver "${STORAGE_DRIVER:-overlay2}" >"$work/dockerd.log" 2>&1 &
  engine=$!
  for _ in $(seq 100); do docker version >/dev/null 2>&1 && break; kill -0 "$engine" || die "dockerd ended: $(tail -5 "$work/dockerd.log")"; sleep 0.2; done
fi

base="${BASE_IMAGE:-}"
if [ -z "$base" ]; then
  base=sovrabase-base:local
  if ! docker image inspect "$base" >/dev/null 2>&1; then
    root="${ROOTFS:-$work/rootfs}"
    [ -d "$root/usr" ] || debootstrap --variant=minbase --include=ca-certificates bookworm "$root" >"$work/debootstrap.log"
    node="$here/node_modules/node-linux-$(uname -m | sed 's/x86_64/x64/;s/aarch64/arm64/')/bin/node"
    cp "$node" "$root/usr/local/bin/node"
    mkdir -p "$root/usr/local/lib/node_modules"
    cp -rL "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")" "$root/usr/local/lib/node_modules/npm"
    ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
    # Where a proxy of the house signs what passes, its authority is in the machine's list.
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    tar -C "$root" -c . | docker import --change 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' - "$base" >/dev/null
  fi
  say "base image $base imported"
fi

say 'building'
docker build --network=host --build-arg "BASE_IMAGE=$base" -t "$image" . >"$work/build.log" 2>&1 || die "the build: $(tail -15 "$work/build.log")"
say "built: $(docker image inspect -f '{{.Size}}' "$image" | awk '{printf "%d MB", $1/1e6}')"

start() {
  docker run -d --name "$name" --network=host --init --shm-size=256m --memory=1g --cpus=1 -v "$name:/data" -e SOVRABASE_API_HOST=127.0.0.1 -e "SOVRABASE_API_PORT=$port" \
    -e SOVRABASE_WIRE_PORT=0 -e SOVRABASE_WIRE_HOST=127.0.0.1 -e SOVRABASE_ADMIN_PORT=0 "$image" >/dev/null
}
healthy() {
  for _ in $(seq 300); do
    [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/health")" = 200 ] && return
    [ "$(docker inspect -f '{{.State.Running}}' "$name")" = true ] || die 'the container ended'
    sleep 0.2
  done
  die 'it did not answer'
}
sovra() { docker exec "$name" bash scripts/node.sh packages/cli/src/main.ts "$@"; }

began=$(date +%s%N)
start
healthy
say "first start: $(( ($(date +%s%N) - began) / 1000000 )) ms, $(docker exec "$name" cat /sys/fs/cgroup/memory/memory.usage_in_bytes /sys/fs/cgroup/memory.current 2>/dev/null | head -1 | awk '{printf "%d MiB", $1/1048576}') of 1 GiB"
sovra status | grep -E 'Isolation|Projects'
sovra orgs create acme >/dev/null
sovra projects create shop --org acme --wait >/dev/null
sovra db exec shop 'create table t (n int); insert into t select generate_series(1, 100)' >/dev/null

say 'docker restart keeps everything'
docker restart -t 60 "$name" >/dev/null
healthy
[ "$(sovra db exec shop 'select count(*)::int as n from t' --json | tr -dc 0-9)" = 100 ] || die 'rows are missing after docker restart'

say 'docker stop under load'
key="$(sovra projects show shop --json | grep -oE '"service_role_key": "[^"]*"' | cut -d'"' -f4)"
url="$(sovra projects show shop --json | grep -oE '"url": "[^"]*"' | head -1 | cut -d'"' -f4)"
sovra db exec shop 'grant all on t to service_role' >/dev/null
acknowledged="$work/acknowledged"
: >"$acknowledged"
for worker in 1 2 3 4; do
  (n=0; while [ "$(curl -s -o /dev/null -w '%{http_code}' -m 20 -X POST "$url/rest/v1/t" -H "apikey: $key" -H 'content-type: application/json' -d "{\"n\":$((worker * 100000 + n))}")" = 201 ]; do
    echo 1 >>"$acknowledged"; n=$((n + 1)); done) &
  loads[worker]=$!
done
for _ in $(seq 100); do [ "$(wc -l <"$acknowledged")" -gt 50 ] && break; sleep 0.1; done
docker stop -t 60 "$name" >/dev/null
wait "${loads[@]}" || true
code="$(docker inspect -f '{{.State.ExitCode}}' "$name")"
[ "$code" = 0 ] || die "docker stop ended it with $code"
docker start "$name" >/dev/null
healthy
there="$(sovra db exec shop 'select count(*)::int as n from t where n >= 100000' --json | tr -dc 0-9)"
written="$(wc -l <"$acknowledged")"
[ "$written" -gt 50 ] && [ "$there" -ge "$written" ] || die "$written writes were acknowledged, $there are there"
say "exit code 0; $written writes acknowledged, $there there: none lost"

say 'without root'
docker rm -f "$name" >/dev/null
docker volume rm "$name" >/dev/null
docker run -d --name "$name" --network=host --init --user 1000:1000 --tmpfs /data:uid=1000,gid=1000,mode=0700 -e SOVRABASE_API_HOST=127.0.0.1 -e "SOVRABASE_API_PORT=$port" \
  -e SOVRABASE_WIRE_PORT=0 -e SOVRABASE_ADMIN_PORT=0 -e SOVRABASE_DEMO=off "$image" >/dev/null
healthy
sovra status | grep -q same-user || die 'a container without root must say same-user'
say 'all passed'
