# Sovrabase: every target works on a fresh clone. `make help` lists them.
SHELL := /bin/bash
NODE := bash scripts/node.sh

.PHONY: help start stop status install uninstall test check bench generate tools majors install-dependencies docker-build docker-start docker-logs docker-stop docker-test

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

MANIFESTS := package-lock.json package.json packages/contract/package.json packages/server/package.json packages/cli/package.json
CI_INSTALL := bash scripts/install-dependencies.sh

install-dependencies: node_modules/.installed-all

# What running needs; the tools of developers would double the time of a first start.
node_modules/.installed: $(MANIFESTS)
	@$(CI_INSTALL) --omit=dev
	@touch $@

node_modules/.installed-all: $(MANIFESTS)
	@$(CI_INSTALL)
	@touch node_modules/.installed $@

config.yaml:
	@cp -n config.example.yaml config.yaml 2>/dev/null || true

start: node_modules/.installed config.yaml ## install what is needed, then run with a demo project; BACKGROUND=1: in the background
	@$(if $(BACKGROUND),exec $(NODE) packages/cli/src/main.ts start --background,exec $(NODE) packages/server/src/main.ts)

stop: node_modules/.installed ## stop the server of this checkout; the data stays
	@exec $(NODE) packages/cli/src/main.ts stop

status: node_modules/.installed ## whether it runs, where, with how many projects
	@exec $(NODE) packages/cli/src/main.ts status

install: node_modules/.installed ## as root: into /opt/sovrabase, with `sovra`, a configuration and a systemd unit; again: upgrade
	@$(MAKE) -s tools || echo 'Without them: sovra db dump, restore and pull, and the extension vector.' >&2
	@exec bash scripts/install.sh

uninstall: ## as root: remove the program; data and configuration stay
	@exec bash scripts/install.sh --uninstall

test: install-dependencies ## the whole suite, on real engines (installs what the tests need)
	@bash scripts/test-tools.sh
	@bash scripts/test.sh

check: install-dependencies ## types, lint, import rule, generated files, unused code
	@bash scripts/check.sh

generate: install-dependencies ## write docs/config.md, docs/errors.md and the editor's schema anew
	@$(NODE) scripts/generate.ts

tools: ## PostgreSQL's pg_dump, pg_restore and psql for sovra db dump, restore and pull; pgvector for projects
	@bash scripts/postgres-tools.sh
	@bash scripts/pgvector.sh

majors: ## PostgreSQL of the former major and pg_upgrade, to move projects to a newer major (docs/upgrade.md)
	@bash scripts/postgres-majors.sh

bench: install-dependencies ## make bench NAME=read
	@$(NODE) bench/run.ts $(NAME)

docker-build: ## the image sovrabase:local
	@$(MAKE) -s tools || echo 'Without them in the image: sovra db dump, restore and pull, and the extension vector.' >&2
	docker build $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) -t sovrabase:local .

docker-start: ## run the image with a volume, in the background
	docker compose up -d --wait

docker-logs: ## follow its log
	docker compose logs -f

docker-stop: ## stop it; the volume stays
	docker compose down

docker-test: node_modules/.installed ## build the image and show on a real engine that it starts, restarts and stops under load
	@BASE_IMAGE=$(BASE_IMAGE) bash scripts/docker-test.sh
