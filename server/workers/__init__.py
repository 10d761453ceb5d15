"""The speech workers: what they serve, the engines behind it, and what starts and watches them."""

import os

# Processes are forked only to become another program at once; gRPC's own care for forks just warns about it.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
