# What people type. `make demo` and `make test` set up everything that they need.
SHELL := /bin/bash
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

.PHONY: help setup setup-tests demo test test-faults test-packages mutants fuzz bench bench-long bench-profile flood chaos lint types generate check-generated build docs pack clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: ## Install what is missing (as root: bubblewrap too) and the npm packages
	@scripts/setup.sh

demo: setup ## Run the main job end to end: gate, executor, sandbox, receipts
	@node packages/cli/bin/csc.js demo

setup-tests:
	@scripts/setup.sh tests

test: setup-tests ## Run all tests, but those of faults under load and of what ships
	@vitest run --exclude 'tests/faults/**' --exclude 'tests/packages/**'

test-faults: setup-tests ## Load on a real fleet while parts of it fail or start again: a short round of make chaos
	@vitest run tests/faults

test-packages: setup-tests ## Bundle and pack what ships and use it as its users do (npm installs it, which takes a registry)
	@npm install --prefix tests/packages --prefer-offline --loglevel=error >/dev/null
	@vitest run tests/packages

fuzz: setup ## Malformed requests and replies against the proxy, and messages to csc-launcher (CSC_FUZZ_SECONDS=1800, CSC_FUZZ_SEED=… repeats a run)
	@CSC_FUZZ_SECONDS=$${CSC_FUZZ_SECONDS:-1800} vitest run packages/executor/src/egress/proxy-fuzz.test.ts packages/sandbox/src/launch/launcher-fuzz.test.ts
	@scripts/fuzz-job.sh $$(( $${CSC_FUZZ_SECONDS:-1800} / 3 )) $${CSC_FUZZ_SEED:-0}

mutants: setup-tests ## Bring faults into copies of the security wiring, each of which a test must notice (ONLY=name,… or QUICK=1)
	@node tests/mutants/main.ts $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

bench: setup build ## Measure against baselines, in under five minutes (ONLY=latency,… some rows; SMOKE=1 a hundredth; AGAINST=FILE beside an earlier report)
	@node bench/main.ts $(if $(ONLY),--only $(ONLY)) $(if $(SMOKE),--smoke) $(if $(AGAINST),--against $(AGAINST))

bench-long: setup build ## Measure what takes longer
	@node bench/main.ts --long $(if $(ONLY),--only $(ONLY)) $(if $(SMOKE),--smoke) $(if $(AGAINST),--against $(AGAINST))

bench-profile: setup ## Run rows with profiles and draw a flame graph of each into out/profile (ONLY=latency,output; PUBLISH=1 into docs/performance)
	@node bench/profile/main.ts $(if $(ONLY),--only $(ONLY)) $(if $(PUBLISH),--publish)

chaos: setup-tests ## Break a real fleet at random and audit its books, as root (CSC_CHAOS_SECONDS=600, CSC_CHAOS_SEED=… repeats a storm)
	@node tests/chaos/main.ts
	@CSC_CHAOS_MANY=$${CSC_CHAOS_MANY:-5000} vitest run tests/faults/bad-host.test.ts

flood: setup ## Flood a gate beside an honest client, and print the table (ONLY=pings runs one)
	@node tests/flood/main.ts

lint: setup ## Formatter, linter, protobuf rules
	@biome check --error-on-warnings .
	@buf lint
	@buf breaking --against proto/baseline.binpb
	@node scripts/check-imports.ts

types: setup ## Type check
	@tsc --noEmit

generate: setup ## Regenerate the protobuf code, the published schemas, docs/errors.md, the tables of docs/observability.md
	@node scripts/generate-protobuf.ts
	@node scripts/publish-schemas.ts
	@node scripts/publish-errors.ts
	@node scripts/publish-metrics.ts
	@node scripts/publish-logs.ts
	@node scripts/publish-seccomp.ts
	@node scripts/publish-proxy.ts
	@node scripts/publish-page.ts

check-generated: setup ## Fail if what is generated is not current
	@node scripts/check-generated.ts

pack: setup ## Pack every package as it is shipped, into out/packages
	@node scripts/pack/pack-all.ts

docs: setup ## Write the API reference to docs/api, from the docstrings of what the packages export
	@npm install --prefix scripts/docs --no-audit --no-fund --loglevel=error >/dev/null
	@node scripts/docs/node_modules/typedoc/bin/typedoc --options scripts/docs/typedoc.config.js

build: setup ## Bundle the csc command into packages/cli/dist
	@node scripts/build.ts

clean:
	rm -rf node_modules scripts/docs/node_modules docs/api packages/*/node_modules packages/cli/dist out
