"""The platform `cpu` for verl: gloo communication, and a logical Ray GPU per trainer process.

verl sizes its worker groups by the Ray resource "GPU", so a CPU run declares logical ones with
`+ray_kwargs.ray_init.num_gpus=<trainer.n_gpus_per_node>`.
"""

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import psutil
import torch
import torch.distributed as dist
from verl.plugin.platform import PlatformBase, PlatformRegistry


class _CPUDevice(types.ModuleType):
    """`torch.cpu`, and what verl calls on an accelerator's module but `torch.cpu` lacks."""

    get_rng_state = staticmethod(torch.get_rng_state)
    set_rng_state = staticmethod(torch.set_rng_state)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cpu, name)

    @staticmethod
    def is_available() -> bool:
        """False, meaning "no accelerator": it keeps verl away from CUDA-only code."""
        return False

    @staticmethod
    def get_device_name(*_: Any) -> str:
        return "CPU"

    @staticmethod
    def empty_cache() -> None: ...

    @staticmethod
    def reset_peak_memory_stats(*_: Any) -> None: ...

    @staticmethod
    def _no_device_memory(*_: Any) -> int:
        return 0

    memory_allocated = memory_reserved = _no_device_memory
    max_memory_allocated = max_memory_reserved = _no_device_memory

    @staticmethod
    def mem_get_info(*_: Any) -> tuple[int, int]:
        memory = psutil.virtual_memory()
        return memory.available, memory.total


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformBase):
    """verl's `PlatformBase` for machines without an accelerator."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = _CPUDevice("cpu_device")

    def is_available(self) -> bool:
        return True

    def current_device(self) -> Any:
        return "cpu"  # verl passes it to tensor.to(), where an index would mean a CUDA device

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None: ...

    def synchronize(self, device_index: int | None = None) -> None: ...

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None: ...

    def empty_cache(self) -> None: ...

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextlib.contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None: ...

    def profiler_stop(self) -> None: ...

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> None: ...


# verl names its process group f"cpu:gloo,{device}:{backend}", here "cpu:gloo,cpu:gloo", which torch
# refuses because it names a device twice. Under that very name we register what it means: gloo.
_BACKEND = "cpu:gloo,cpu:gloo"
if _BACKEND not in dist.Backend.backend_list:
    dist.Backend.register_backend(
        _BACKEND,
        lambda store, rank, size, timeout: dist.ProcessGroupGloo(
            store, rank, size, timeout=timeout
        ),
        devices=["cpu"],
    )
