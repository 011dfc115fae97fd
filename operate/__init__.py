"""Commands that operate a deployed stack, run from the checkout: `python -m operate.listen` and others."""
