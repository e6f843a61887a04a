#!/bin/sh
# In the place of the device's Python: engines are built by tests/builder/ensure/standin.py.
exec /opt/jetserve/.venv/builder/bin/python /standin/standin.py "$@"
