# The commands for a deployed stack (docs/operations.md). In a release, this file is the Makefile. Python 3.11 or newer is
# required.

PYTHON ?= python3

# Only in a release: a checkout has its own list, and compiles the function.
ifeq ($(words $(MAKEFILE_LIST)),1)
.PHONY: help
help:
	@echo '  make demo       runs the function with emulators of Lambda, SNS and SQS, sends three webhooks, and exits'
	@echo '  make local      does the same, and keeps running until Ctrl-C'
	@echo 'Both run on Linux with the architecture of this release. For a deployed stack (docs/operations.md):'
	@echo '  make smoke      tests it: STACK=pollo-webhook or URL=..., with the key in WEBHOOK_SECRET'
	@echo '  make replay     sends unpublished outcomes again: STACK=pollo-webhook'
	@echo '  make reconcile  finds outcomes that never arrived, by asking Pollo: STACK=pollo-webhook'
	@echo '  make listen     shows each published outcome: STACK=pollo-webhook'

.PHONY: demo local
demo local:
	@$(PYTHON) tools/install.py emulators
	@.tools/emulators/bin/python -m local.demo $(if $(filter local,$@),--stay)
endif

# make passes STACK, URL and the other settings to these commands through the environment.
.PHONY: smoke replay reconcile listen
smoke replay reconcile listen:
	@$(PYTHON) tools/install.py operate
	@.tools/operate/bin/python -m operate.$@
