"""What an operator may choose for an environment, a module for each subject."""

from infra.config.environment import Environment
from infra.config.fleet import FleetConfig, ScalingConfig
from infra.config.loading import ConfigError, load_environments
from infra.config.network import NetworkConfig
from infra.config.part import LogDays

__all__ = [
    "ConfigError",
    "Environment",
    "FleetConfig",
    "LogDays",
    "NetworkConfig",
    "ScalingConfig",
    "load_environments",
]
