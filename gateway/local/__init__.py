"""Triton and the gateway on one machine, started, watched and ended together: `python -m gateway.local`."""
