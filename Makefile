# `make` lists the targets.

PYTHON ?= python3

.PHONY: bench clean demo fuzz guard help lint lints listen local package python reconcile replay smoke stack template \
  test tools

help:
	@echo 'Try it'
	@echo '  make local      runs the function with emulators of Lambda, SNS and SQS, until Ctrl-C'
	@echo '                  (LAMBDA_PORT=9000 SNS_PORT=4100 WEBHOOK_TOLERANCE_SECONDS=0;'
	@echo '                  WEBHOOK_SECRET is your key instead of the test key)'
	@echo '  make demo       runs the same with three webhooks, and exits'
	@echo
	@echo 'Test it (.ci/run runs all of these)'
	@echo '  make test       runs the unit tests, and tests the compiled function with emulators'
	@echo '  make lint       checks the code, the documentation, the workflows and the dependencies'
	@echo '  make template   checks the templates: SAM, AWS rules, permissions, alarms'
	@echo '  make stack      deploys the package to an emulator of AWS, tests and deletes it'
	@echo '                  (ON=aws does so in your account, after it has asked)'
	@echo '  make guard      compares cache misses, instructions, size and memory with ceilings'
	@echo '  make fuzz       compares the function with a second implementation for random input'
	@echo '                  (SECONDS=600 runs longer, TARGET=event runs one target)'
	@echo
	@echo 'Deploy (docs/install.md) and operate'
	@echo '  make smoke      tests a deployed function: STACK=pollo-webhook or URL=..., with the key'
	@echo '                  in WEBHOOK_SECRET (YES=1 does not ask)'
	@echo '  make replay     sends unpublished outcomes again: STACK=pollo-webhook, with the key in'
	@echo '                  WEBHOOK_SECRET (SINCE=6h, DRY=1 only lists them, YES=1 does not ask)'
	@echo '  make reconcile  asks Pollo for outcomes that never arrived, and sends them: STACK=...,'
	@echo '                  with POLLO_API_KEY and WEBHOOK_SECRET (TASKS=FILE names the tasks)'
	@echo '  make listen     shows each published outcome: STACK=pollo-webhook (FILTER=..., SAVE=DIR'
	@echo '                  saves it as an event, FORWARD=http://localhost:3000/ forwards it)'
	@echo
	@echo 'Maintain'
	@echo '  make bench      compares the function with Python, Node and plain Rust, and writes'
	@echo '                  docs/performance.md and its chart'
	@echo '  make package    builds the files of a release into target/package (ARCH=arm64)'
	@echo '  make clean      removes what was built and installed'

python:
	@command -v $(PYTHON) >/dev/null || \
	  { echo 'Python is missing: install version 3.11 or newer, or set make PYTHON=...'; exit 1; }

tools: python
	@$(PYTHON) tools/install.py emulators

lints: python
	@$(PYTHON) tools/install.py lints

local: tools
	@.tools/emulators/bin/python -m local.demo --stay

demo: tools
	@.tools/emulators/bin/python -m local.demo

test: tools
	@$(PYTHON) tools/install.py rie
	RUSTDOC=tests/rustdoc cargo test --locked
	.tools/emulators/bin/python -m pytest

template: python
	@$(PYTHON) tools/install.py sam
	.tools/sam/bin/python -m pytest tests/template

stack: package
	@$(PYTHON) tools/install.py emulators rie aws operate
	ARCH=$(ARCH) .tools/sam/bin/python -m pytest tests/stack
	FUNCTION_BINARY=$(CURDIR)/target/package/$(ARCH)/bootstrap .tools/emulators/bin/python -m pytest tests/end_to_end

ARCH ?= x86_64

package: python
	@$(PYTHON) tools/install.py sam
	@PATH="$(CURDIR)/.tools/sam/bin:$$PATH" .tools/sam/bin/python -m tools.package $(ARCH)

# Both programs find the binaries in this folder.
guard bench: export CARGO_TARGET_DIR = $(CURDIR)/target

# `sam build` runs the same command.
guard: tools
	@$(PYTHON) tools/install.py sam
	PATH="$(CURDIR)/.tools/sam/bin:$$PATH" cargo lambda build --release --locked --output-format zip
	PATH="$(CURDIR)/.tools/sam/bin:$$PATH" cargo lambda build --release --locked
	.tools/emulators/bin/python -m benches.guard target/lambda/pollo-webhook/bootstrap

bench: tools
	cd benches/node && npm ci --no-audit --no-fund --loglevel=error && npm run --silent bundle
	cargo build --locked --release
	cargo build --quiet --locked --release --manifest-path benches/plain/Cargo.toml
	.tools/emulators/bin/python -m benches.bench

fuzz: python
	@$(PYTHON) tools/install.py fuzz
	PATH="$(CURDIR)/.tools/fuzz/bin:$$PATH" fuzz/run $(SECONDS) $(TARGET)

# smoke, replay, reconcile and listen, which a release has too.
include tools/release.mk
smoke replay reconcile listen: python

lint: lints
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cd benches/plain && cargo fmt --check
	cd fuzz && cargo fmt --check
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	.tools/lints/bin/cargo-deny --locked check bans licenses sources
	.tools/lints/bin/cargo-deny --locked --manifest-path fuzz/Cargo.toml --config deny.toml check sources
	.tools/lints/bin/cargo-deny --locked --manifest-path benches/plain/Cargo.toml --config deny.toml check sources
	.tools/lints/bin/zizmor --offline --quiet --persona=pedantic .github examples/github/deploy.yml
	.tools/lints/bin/ruff check benches examples local operate tests tools
	.tools/lints/bin/ruff format --check benches examples local operate tests tools

clean:
	cargo clean
	rm -rf .tools .aws-sam
