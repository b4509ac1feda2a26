# The embedded driver runs the clusters inside this container: no Docker socket is needed.
ARG BASE_IMAGE=node:24-bookworm-slim
FROM ${BASE_IMAGE}

WORKDIR /opt/sovrabase
COPY package.json package-lock.json .npmrc ./
COPY packages/contract/package.json packages/contract/
COPY packages/server/package.json packages/server/
COPY packages/cli/package.json packages/cli/
RUN npm ci --ignore-scripts --omit=dev --no-fund --no-audit
# With PostgreSQL's tools and pgvector, where `make tools` (which `make docker-build` calls) has put them into .cache/tools.
COPY . .

# Started as root, the keeper stays root and the server runs under an unprivileged uid; `--user` gives isolation: same-user.
ENV NODE_ENV=production \
    CONFIG_PATH=/data/config.yaml \
    SOVRABASE_DATA_DIR=/data \
    SOVRABASE_API_HOST=0.0.0.0 \
    SOVRABASE_WIRE_HOST=0.0.0.0
VOLUME /data
EXPOSE 8080 5432
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
  CMD ["bash", "scripts/node.sh", "-e", "fetch('http://127.0.0.1:'+(process.env.SOVRABASE_API_PORT||8080)+'/health').then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
CMD ["bash", "scripts/node.sh", "packages/server/src/main.ts"]
