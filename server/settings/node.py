"""Settings: where the node has its models from, which fleet it is part of, and how it runs."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field


class NodeSettings(BaseModel):
    """The node itself."""

    # --- models
    model_dir: Path = Field(
        Path("~/.cache/voicefleet/models"), description="Where models are kept; on a node, a folder on the NVMe disk."
    )
    model_local: Path | None = Field(None, description="Folder to copy models from before any other source is tried.")
    model_s3: str = Field(
        "", pattern=r"^(s3://\S+)?$", description="`s3://BUCKET/PREFIX` to fetch models from before the public sources."
    )

    # --- fleet
    fleet_group: str = Field(
        "",
        max_length=255,
        description="Auto Scaling group that this node lives in; empty: not in a group, and its life cycle is off.",
    )

    # --- running
    run_dir: Path | None = Field(
        None, description="Folder of the workers' sockets; by default a private temporary one."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line to write."
    )
