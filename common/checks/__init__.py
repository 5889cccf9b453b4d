"""What can be known to be wrong before anything starts."""

from common.checks.configuration import check_choices, check_config
from common.checks.machine import machine_faults, visible_gpus

__all__ = ["check_choices", "check_config", "machine_faults", "visible_gpus"]
