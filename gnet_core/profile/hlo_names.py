"""The TensorFlow operation from which XLA compiled an instruction of a module.

XLA keeps the name of an operation with the instructions that it compiles it to, but not with all that its optimiser
puts in their place. An instruction without a name gets that of an instruction that it fuses, uses, or is used by.
"""

from __future__ import annotations

import collections
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gnet_core.profile.parts import OTHER, SUMS, place

LAYOUT_COPY = "layout copy (XLA)"
"""Type of an instruction that only moves data between layouts."""

_MOVES = {
    *("bitcast", "broadcast", "concatenate", "constant", "copy", "get-tuple-element", "iota", "pad", "parameter"),
    *("reshape", "reverse", "slice", "transpose", "tuple"),
}
_PRODUCTS = ("convolution", "dot")
_MAX_STEPS = 12  # from an instruction without a name to the one whose name it gets


class Operation(NamedTuple):
    """The operation that an instruction was compiled from: its name, and its type such as Conv2D."""

    name: str
    kind: str


class _Instruction(NamedTuple):
    name: str
    opcode: str
    operands: tuple[str, ...]
    computation: str  # which a fusion calls; empty for other instructions
    origin: Operation | None


_LINE = re.compile(r"\s+(?:ROOT )?%(?P<name>\S+) = (?P<text>.*)")
_TUPLE = re.compile(r"\(.*?\) (?=[a-z][\w-]*\()")
_OPCODE = re.compile(r"(?P<opcode>[a-z][\w-]*)\((?P<operands>[^)]*)\)")
_CALLS = re.compile(r"\bcalls=%(?P<computation>[^\s,]+)")
_ORIGIN = re.compile(r'metadata=\{op_type="(?P<type>[^"]*)" op_name="(?P<name>[^"]*)"')


class Module:
    """The instructions of a module, parsed from the lines of its text."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._bodies: dict[str, list[_Instruction]] = {}
        body: list[_Instruction] = []
        for line in lines:
            if line.startswith(("%", "ENTRY")):
                body = self._bodies.setdefault(line.removeprefix("ENTRY ").split(" ", 1)[0].lstrip("%"), [])
            elif instruction := _parsed(line):
                body.append(instruction)
        instructions = list(itertools.chain.from_iterable(self._bodies.values()))
        self._instructions = {instruction.name: instruction for instruction in instructions}
        self._operands = {instruction.name: instruction.operands for instruction in instructions}
        self._users: dict[str, list[str]] = collections.defaultdict(list)
        for name, operands in self._operands.items():
            for operand in operands:
                self._users[operand].append(name)

    def source(self, name: str) -> Operation:
        """The operation of an instruction; of one that is not in the module its name without the number is the type."""
        stem = re.sub(r"\.\d+$", "", name)
        instruction = self._instructions.get(name)
        if instruction is None:
            return Operation("", stem)
        if origin := self._own(instruction):
            return origin
        if instruction.opcode in _PRODUCTS and (gradient := self._filter_gradient(instruction)):
            return gradient
        neighbour = self._nearest(name, self._users) or self._nearest(name, self._operands) or Operation("", stem)
        fused = self._bodies.get(instruction.computation) or [instruction]
        only_moves = all(part.opcode in _MOVES for part in fused)
        return Operation(neighbour.name, LAYOUT_COPY if only_moves else neighbour.kind)

    def _own(self, instruction: _Instruction) -> Operation | None:
        """Its origin or that of the last instruction it fuses; those that name a part of the network come first."""
        fused = self._bodies.get(instruction.computation, [])
        origins = [part.origin for part in (instruction, *reversed(fused)) if part.origin]
        placed = (origin for origin in origins if place(origin.name).part not in (SUMS, OTHER))
        return next(placed, next(iter(origins), None))

    def _filter_gradient(self, instruction: _Instruction) -> Operation | None:
        """The gradient of a filter: a product of a layer's input and the gradient of its output, which XLA leaves
        without a name. Its users, if any, belong to the optimizer and do not name the layer.
        """
        if self._nearest(instruction.name, self._users):
            return None
        operands = [self._instructions[name] for name in instruction.operands if name in self._instructions]
        sides = [self._own(operand) or self._nearest(operand.name, self._operands) for operand in operands]
        ordered = sorted((side for side in sides if side), key=lambda side: place(side.name).direction == "backward")
        if not ordered or place(ordered[-1].name).direction != "backward":
            return None
        kind = "Conv2DBackpropFilter" if instruction.opcode == "convolution" else "MatMul"
        return Operation(f"gradient_tape/{ordered[0].name}", kind)

    def _nearest(self, name: str, neighbours: Mapping[str, Sequence[str]]) -> Operation | None:
        """The nearest origin in one direction. Those of the optimizer do not count, since it uses every gradient."""
        seen, edge = {name}, [name]
        for _ in range(_MAX_STEPS):
            around = dict.fromkeys(neighbour for inner in edge for neighbour in neighbours.get(inner, ()))
            edge = [outer for outer in around if outer in self._instructions and outer not in seen]
            seen.update(edge)
            origins = {outer: self._own(self._instructions[outer]) for outer in edge}
            for origin in origins.values():
                if origin and place(origin.name).part != "optimizer":
                    return origin
            edge = [outer for outer, origin in origins.items() if origin is None]
        return None


def _parsed(line: str) -> _Instruction | None:
    if not (match := _LINE.match(line)):
        return None
    text = _TUPLE.sub("", match["text"], count=1) if match["text"].startswith("(") else match["text"]
    opcode, calls, origin = _OPCODE.search(text), _CALLS.search(text), _ORIGIN.search(text)
    if not opcode:
        return None
    return _Instruction(
        name=match["name"],
        opcode=opcode["opcode"],
        operands=tuple(re.findall(r"%([^\s,]+)", opcode["operands"])),
        computation=calls["computation"] if calls else "",
        origin=Operation(origin["name"], origin["type"]) if origin else None,
    )
