"""One onnxruntime session: values stay on its device."""

import os
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from onnxshap.errors import ExecutionError, ProviderError
from onnxshap.runtime.providers import CUDA, choose
from onnxshap.runtime.workers import Stop, Stopped, Workers, cores

_BFLOAT16 = 16  # in onnx.TensorProto
_NO_KERNEL = re.compile(r"find an implementation for (\w+)\(\d+\) node with name '(.*)'")

DeviceValue = Any
"""An `onnxruntime.OrtValue`; untyped because the package ships no types."""


class NoKernelError(ExecutionError):
    """The runtime cannot run an operator in the types it is given."""

    def __init__(self, what: str, operator: str, node: str) -> None:
        super().__init__(
            f'onnxruntime cannot load the {what}: it has no kernel for {operator}, node "{node}"'
        )
        self.operator, self.node = operator, node


class Session:
    """A compiled graph. ``count`` says how many were made, ``runs`` how often this one ran.

    ``threads``: how many a run takes; 0: one for each core. ``plain_kernels``: run on the
    CPU without its blocked layout, as constant folding does. ``folder``: of the model's external
    weights. ``mapped``: leave them there, mapped into memory that sessions share, instead of in
    copies laid out for speed.
    """

    count = 0

    def __init__(
        self,
        model: bytes | str,
        providers: Sequence[str] | None,
        workers: Workers,
        what: str,
        *,
        threads: int = 0,
        plain_kernels: bool = False,
        folder: str | os.PathLike[str] | None = None,
        mapped: bool = False,
    ) -> None:
        asked = choose(providers)
        if CUDA in asked:
            ort.preload_dlls()
        options = ort.SessionOptions()
        options.log_severity_level = 4
        # Told how many, the runtime does not tie its threads to processors: tied, now and then one
        # shared its processor with the caller's own share of the work, no faster than one alone.
        options.intra_op_num_threads = threads or cores()
        # Between runs the threads of one session would spin against those of the next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # A plan for buffers made ahead takes time that grows with the square of the nodes (8 of 11
        # seconds for DenseNet-201's backward pass). The arena reuses them as well while it runs.
        options.enable_mem_reuse = False
        if folder is not None:
            key = "session.model_external_initializers_file_folder_path"
            options.add_session_config_entry(key, os.fspath(folder))
        copying = ["ConstantFolding"] if mapped else []
        if mapped:
            options.add_session_config_entry("session.disable_prepacking", "1")
        if plain_kernels:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        try:
            self._session = ort.InferenceSession(
                model, options, _configured(asked), disabled_optimizers=copying
            )
        except Exception as error:  # onnxruntime raises a dozen classes without a common root
            lacking = _NO_KERNEL.search(str(error))
            if lacking:
                raise NoKernelError(what, *lacking.groups()) from error
            raise ExecutionError(f"onnxruntime cannot load the {what}: {error}") from error
        granted = self._session.get_providers()
        missing = [p for p in asked if p not in granted]
        if missing:
            raise ProviderError(
                f"{', '.join(missing)} was not granted; onnxruntime gave {', '.join(granted)}. "
                "Check the driver and the CUDA and cuDNN libraries (pip install onnxshap[cuda]), "
                "or pass providers=['CPUExecutionProvider']."
            )
        self.device = "cuda" if granted[0] == CUDA else "cpu"
        self.inputs = [i.name for i in self._session.get_inputs()]
        self.outputs = [o.name for o in self._session.get_outputs()]
        self.runs = 0
        self._workers, self._what, self._lock = workers, what, threading.Lock()
        Session.count += 1

    def run(
        self,
        feeds: Mapping[str, np.ndarray | DeviceValue],
        outputs: Iterable[str],
        stop: Stop | None = None,
    ) -> dict[str, DeviceValue]:
        """Run; values stay on the session's device. Feeds the graph does not have are ignored."""
        wanted = list(outputs)
        binding = self._session.io_binding()
        for name in self.inputs:
            binding.bind_ortvalue_input(name, self.put(feeds[name]))
        for name in wanted:
            binding.bind_output(name, self.device)
        try:
            self._workers.run(
                lambda options: self._session.run_with_iobinding(binding, options), stop or Stop()
            )
        except (Stopped, KeyboardInterrupt):
            raise
        except Exception as error:
            raise ExecutionError(f"onnxruntime failed in the {self._what}: {error}") from error
        with self._lock:
            self.runs += 1
        return dict(zip(wanted, binding.get_outputs(), strict=True))

    def put(self, array: np.ndarray | DeviceValue) -> DeviceValue:
        """Put an array on the session's device; device values are returned as they are."""
        if not isinstance(array, np.ndarray):
            return array
        contiguous = np.ascontiguousarray(array)
        if array.dtype.name == "bfloat16":  # numpy's own types end at float16
            bits = contiguous.view(np.uint16)
            return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _BFLOAT16)
        return ort.OrtValue.ortvalue_from_numpy(contiguous, self.device)


def _configured(providers: Sequence[str]) -> list[str | tuple[str, dict[str, str]]]:
    # TF32 rounds products to 10 bits, which breaks completeness. An exhaustive search for the best
    # convolution takes seconds, again for every batch size.
    settings = {CUDA: {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}}
    return [(p, settings[p]) if p in settings else p for p in providers]
