"""Commands that operate a deployed stack, run from the checkout: `python -m operate.replay`, `python -m operate.smoke`."""
