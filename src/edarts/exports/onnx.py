"""ONNX, run by onnxruntime: uint8 images (N, H, W, C), any N -> probabilities; the extra `export`.

`--int8` quantises weights and maps statically: their ranges are those that training images show
(onnxruntime's QDQ form, a scale for each output channel of a convolution).
"""

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from edarts.errors import EdartsError, UsageError, one_line
from edarts.exports.base import Answer, Export, Facts, card, check_place, unwritable
from edarts.exports.python import script
from edarts.exports.torch import program
from edarts.training.models import TrainedModel

IMAGES, PROBABILITIES = "images", "probabilities"  # names of the input and the output
CALIBRATION_BATCH = 32
EXACT = ["Cast", "Div", "Sub", "Mul", "Transpose", "Softmax"]  # operations that stay in float32


@dataclass(frozen=True)
class Options:
    """What can be chosen of the format."""

    int8: bool = False
    """Whether weights and maps are rounded to 8 bits, by the ranges that training images show."""


class Onnx(Export):
    """One file, in whose metadata each value is JSON, and beside it a script that predicts."""

    Options: ClassVar[type] = Options
    suffix: ClassVar[str] = ".onnx"

    def __init__(self, options: Any = None, facts: Facts | None = None) -> None:
        super().__init__(options, facts)
        self._exact = Onnx(facts=facts) if self.options.int8 else None
        self._made: tuple[TrainedModel, Any] | None = None  # of what, and its graph

    @property
    def file(self) -> str:
        return "model.int8.onnx" if self.options.int8 else "model.onnx"

    def exact(self) -> "Onnx | None":
        return self._exact

    def write(self, model: TrainedModel, out: Path) -> list[Path]:
        check_place(out)
        beside = out.with_name(f"{out.stem}_predict.py")
        graph = self.graph(model) if self._exact is None else self._rounded(model)
        about = card(model, self.facts) | ({"int8": True} if self.options.int8 else {})
        for key, value in about.items():
            graph.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False))
        try:
            out.write_bytes(graph.SerializeToString())
            beside.write_bytes(script("predict_onnx"))
        except OSError as error:
            raise unwritable(out, error) from None
        return [out, beside]

    def open(self, out: Path) -> Answer:
        session = _runtime().InferenceSession(out, providers=["CPUExecutionProvider"])
        return lambda images: session.run(None, {IMAGES: images})[0]

    def graph(self, model: TrainedModel) -> Any:
        """The classifier as an onnx.ModelProto, without metadata."""
        onnx = _onnx()
        if self._made is None or self._made[0] is not model:
            self._made = model, _graph(model)
        copied = onnx.ModelProto()
        copied.CopyFrom(self._made[1])
        return copied

    def _rounded(self, model: TrainedModel) -> Any:
        """The same, quantised. Raises UsageError without training images."""
        onnx, images = _onnx(), self.facts.images
        if images is None or self._exact is None:
            raise UsageError("int8 learns its ranges from training images, and none are at hand")
        _runtime()
        from onnxruntime import quantization as q

        with tempfile.TemporaryDirectory() as folder, _quiet():
            plain, folded, rounded = (Path(folder) / f"{n}.onnx" for n in ("1", "2", "3"))
            onnx.save(self._exact.graph(model), plain)
            # Norms become part of the convolutions before them, so that they are not rounded twice.
            q.shape_inference.quant_pre_process(plain, folded, skip_symbolic_shape=True)
            kinds = {node.op_type for node in onnx.load(folded).graph.node}
            q.quantize_static(
                folded,
                rounded,
                _Reader(images),
                per_channel=True,
                op_types_to_quantize=sorted(kinds - set(EXACT)),
            )
            return onnx.load(rounded)


def _graph(model: TrainedModel) -> Any:
    """An onnx.ModelProto that tells nothing of the machine on which it was made."""
    onnx = _onnx()
    with _quiet():
        made = torch.onnx.export(
            program(model),
            dynamo=True,
            input_names=[IMAGES],
            output_names=[PROBABILITIES],
            verbose=False,
        )
    assert made is not None
    proto = made.model_proto
    graph = proto.graph
    del graph.value_info[:]
    for part in (proto, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.checker.check_model(proto)
    return proto


class _Reader:
    """Training images, batch after batch, as onnxruntime asks for them."""

    def __init__(self, images: Tensor) -> None:
        self._batches = iter(images.split(CALIBRATION_BATCH))

    def get_next(self) -> dict[str, Any] | None:
        """The next batch by the input's name; None after the last one."""
        batch = next(self._batches, None)
        return None if batch is None else {IMAGES: batch.numpy()}


@contextmanager
def _quiet() -> Iterator[None]:
    """What exporter and quantiser advise is of no use to the user of a finished network."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _onnx() -> Any:
    try:
        import onnx
        import onnxscript  # noqa: F401  (torch.onnx needs it)
    except ImportError as error:
        raise _missing(error) from None
    return onnx


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing(error) from None
    return onnxruntime


def _missing(error: ImportError) -> EdartsError:
    return EdartsError(
        "format onnx needs onnx, onnxscript and onnxruntime (in a clone:"
        f" pip install -c constraints.txt -e '.[export]'): {one_line(error)}"
    )


PLUGIN = Onnx
