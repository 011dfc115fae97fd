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
	@echo 'make curve       its first answer by the memory it is given, which takes root; writes docs/memory.svg'
	@echo 'make trials      the short trials: fuzz, soak and outages below, as .ci/run has them'
	@echo 'make fuzz        bytes at random, from the same seed; hours of it with TARGET=event SECONDS=36000'
	@echo 'make soak        100,000 webhooks with an SNS that fails one time in ten; or WEBHOOKS=...'
	@echo 'make outages     a sender that repeats as Pollo says, through outages of every kind: prints the table'
	@echo 'make mutants     the code changed in each small way, to see that a test notices'
	@echo 'make coverage    the lines and branches that the tests run'
	@echo 'make timing      whether the time of a verification tells anything of the keys'
	@echo 'make leaked-url  what somebody who knows the URL can make it cost in an hour'
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
