"""The serving settings that answer a load best, found by measuring: `python -m loadtest tune`."""
