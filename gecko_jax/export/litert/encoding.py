"""Encodes a LiteRT model as a .tflite file: a FlatBuffer of the schema that the package `tflite` was made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gecko_jax import extras
from gecko_jax.export.litert.model import LiteModel, LiteTensor

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
ALIGNMENT = 16  # bytes; of constants, which the interpreters read where they lie
MAX_DEPRECATED_CODE = 127


def encode(model: LiteModel, description: str) -> bytes:
    """Encodes a model.

    Args:
      model: from `lower`.
      description: what the file says of itself.

    Returns:
      The bytes of the file; the same model gives the same bytes.

    Raises:
      ImportError: without the packages of the extra "export".
    """
    return _Encoder().file(model, description)


class _Encoder:
    """A FlatBuffer that grows: children come before the tables that name them."""

    def __init__(self):
        extras.require("flatbuffers", "a .tflite file")
        extras.require("tflite", "a .tflite file")
        import flatbuffers
        import tflite

        self.schema, self.builder = tflite, flatbuffers.Builder(1024)
        self.buffers = [self.table("Buffer")]  # buffer 0 is empty: activations have it
        self.shared: dict[bytes, int] = {}

    def file(self, model: LiteModel, description: str) -> bytes:
        codes = list(dict.fromkeys((each.code, each.version) for each in model.operators))
        tensors = [self.tensor(each) for each in model.tensors]
        operators = [
            self.table(
                "Operator",
                OpcodeIndex=codes.index((each.code, each.version)),
                Inputs=self.numbers(each.inputs),
                Outputs=self.numbers([each.output]),
                **self.options(each.options, each.settings),
            )
            for each in model.operators
        ]
        graph = self.table(
            "SubGraph",
            Tensors=self.tables(tensors),
            Inputs=self.numbers([model.input]),
            Outputs=self.numbers([model.output]),
            Operators=self.tables(operators),
            Name=self.builder.CreateString("main"),
        )
        metadata = [
            self.table("Metadata", Name=self.builder.CreateString(name), Buffer=self.buffer(data))
            for name, data in model.metadata.items()
        ]
        root = self.table(
            "Model",
            Version=SCHEMA_VERSION,
            OperatorCodes=self.tables([self.code(*each) for each in codes]),
            Subgraphs=self.tables([graph]),
            Description=self.builder.CreateString(description),
            Buffers=self.tables(self.buffers),
            Metadata=self.tables(metadata),
        )
        self.builder.Finish(root, IDENTIFIER)
        return bytes(self.builder.Output())

    def tensor(self, tensor: LiteTensor) -> int:
        data, fields = tensor.data, {}
        if tensor.scales is not None:
            zeros = np.full(tensor.scales.size, tensor.zero_point, np.int64)
            scales, zeros = self.vector(tensor.scales.astype(np.float32)), self.vector(zeros)
            fields = {"Scale": scales, "ZeroPoint": zeros, "QuantizedDimension": tensor.axis}
            fields = {"Quantization": self.table("QuantizationParameters", **fields)}
        kind = "INT8" if data is None else data.dtype.name.upper()
        return self.table(
            "Tensor",
            Shape=self.numbers(tensor.shape),
            Type=getattr(self.schema.TensorType, kind),
            Buffer=0 if data is None else self.buffer(data.tobytes()),
            Name=self.builder.CreateString(tensor.name),
            **fields,
        )

    def code(self, name: str, version: int) -> int:
        code = getattr(self.schema.BuiltinOperator, name)
        old = min(code, MAX_DEPRECATED_CODE)
        return self.table("OperatorCode", DeprecatedBuiltinCode=old, BuiltinCode=code, Version=version)

    def options(self, name: str, settings: dict[str, Any]) -> dict[str, int]:
        if not name:
            return {}
        settings = {key: self.enumerated(key, value) for key, value in settings.items()}
        return {"BuiltinOptionsType": getattr(self.schema.BuiltinOptions, name),
                "BuiltinOptions": self.table(name, **settings)}  # fmt: skip

    def enumerated(self, field: str, value: Any) -> Any:
        """Returns a setting as a number: names are of the enumeration that the field has."""
        if not isinstance(value, str):
            return value
        return getattr(getattr(self.schema, {"Padding": "Padding"}.get(field, "ActivationFunctionType")), value)

    def buffer(self, data: bytes) -> int:
        """Adds a buffer of constants and returns its number."""
        self.builder.Prep(ALIGNMENT, len(data))
        self.buffers.append(self.table("Buffer", Data=self.builder.CreateByteVector(data)))
        return len(self.buffers) - 1

    def numbers(self, values: Sequence[int]) -> int:
        return self.vector(np.asarray(values, np.int32))

    def vector(self, values: np.ndarray) -> int:
        """Writes a vector; equal ones are written once, as a FlatBuffer may have more than one table name them."""
        key = values.dtype.char.encode() + values.tobytes()
        if key not in self.shared:
            self.shared[key] = self.builder.CreateNumpyVector(values)
        return self.shared[key]

    def tables(self, offsets: Sequence[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()

    def table(self, kind: str, **fields: Any) -> int:
        getattr(self.schema, f"{kind}Start")(self.builder)
        for name, value in fields.items():
            getattr(self.schema, f"{kind}Add{name}")(self.builder, value)
        return getattr(self.schema, f"{kind}End")(self.builder)
