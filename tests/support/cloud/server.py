"""AWS on loopback: moto's server with what this project adds to it. `python -m tests.support.cloud.server PORT`.

Its state lives and dies with the process. Callers must use the name localhost: moto reads an address as a bucket.
"""

import os
import sys

from moto.server import main

from tests.support.cloud import (
    access,
    autoscaling_life,
    cloudformation,
    load_balancing,
    messaging,
    monitoring,
    network,
    operations,
    resource,
    scaling,
    stack_life,
    storage,
)

RESOURCES = (
    resource.Metadata,
    *access.RESOURCES,
    *load_balancing.RESOURCES,
    *messaging.RESOURCES,
    *monitoring.RESOURCES,
    *network.RESOURCES,
    *scaling.RESOURCES,
    *storage.RESOURCES,
)


def serve(port: int) -> None:
    """Serve until terminated."""
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"  # roles have some of AWS's own
    operations.install()
    autoscaling_life.install()
    cloudformation.install(RESOURCES)
    stack_life.install()
    main(["-H", "127.0.0.1", "-p", str(port)])


if __name__ == "__main__":
    serve(int(sys.argv[1]))
