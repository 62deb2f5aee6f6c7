"""Choose execution providers: CUDA only where a device is really there, never a silent fallback."""

import ctypes
import logging
import sys
from collections.abc import Sequence

from onnxshap.errors import ProviderError

logger = logging.getLogger("onnxshap")

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_told: set[str] = set()


def choose(requested: str | Sequence[str] | None) -> list[str]:
    """Return the providers to ask for; with ``None``, CUDA if a device answers, else the CPU.

    A single name may stand alone.

    Raises
    ------
    ProviderError
        If a provider was named that this onnxruntime does not have, or something else given.
    """
    import onnxruntime as ort

    available = ort.get_available_providers()
    if requested is None:
        chosen = [CUDA, CPU] if CUDA in available and cuda_device_present() else [CPU]
        if chosen[0] not in _told:
            _told.add(chosen[0])
            logger.info("running on %s", chosen[0])
        return chosen
    names = [requested] if isinstance(requested, str) else requested
    if not isinstance(names, list | tuple) or not all(isinstance(p, str) for p in names):
        raise ProviderError(
            f"providers={requested!r}: give names such as {CPU!r}, one or a list of them"
        )
    unknown = [p for p in names if p not in available]
    if unknown:
        raise ProviderError(
            f"onnxruntime {ort.__version__} has no {', '.join(unknown)}; it has "
            f"{', '.join(available)}. For CUDA install onnxshap[cuda], and see that onnxruntime "
            "and onnxruntime-gpu are not both installed: they overwrite each other."
        )
    return list(names)


def cuda_device_present() -> bool:
    """Ask the driver: onnxruntime-gpu lists CUDA even on machines without a device."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return False
    count = ctypes.c_int(0)
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return bool(found) and count.value > 0
