"""The TensorFlow operations that the instructions of a compiled XLA module came from.

XLA keeps the name of an operation with the instructions that it made of it, but not with all that its optimiser puts in
their place. What lost its name is told by what it is made of, by what it is made for, or by what it is made from.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from gnet_core.profile.parts import OTHER, SUMS, place

LAYOUT_COPY = "layout copy (XLA)"
"""The type of an instruction that only moves numbers to where another wants them."""

_MOVES = frozenset(
    (
        *("bitcast", "broadcast", "concatenate", "constant", "copy", "get-tuple-element", "iota", "pad", "parameter"),
        *("reshape", "reverse", "slice", "transpose", "tuple"),
    )
)
_PRODUCTS = ("convolution", "dot")
_MOST_STEPS = 12
"""From an instruction without a name to one that has one."""


class Named(NamedTuple):
    """What an instruction came from."""

    name: str
    operation: str
    """The operation's type."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Instruction:
    name: str
    opcode: str
    operands: tuple[str, ...]
    computation: str
    """That a fusion calls; empty where it calls none."""
    origin: Named | None


_LINE = re.compile(r"\s+(?:ROOT )?%(?P<name>\S+) = (?P<told>.*)")
_TUPLE = re.compile(r"\(.*?\) (?=[a-z][\w-]*\()")
_OPCODE = re.compile(r"(?P<opcode>[a-z][\w-]*)\((?P<operands>[^)]*)\)")
_CALLS = re.compile(r"\bcalls=%(?P<computation>[^\s,]+)")
_ORIGIN = re.compile(r'metadata=\{op_type="(?P<type>[^"]*)" op_name="(?P<name>[^"]*)"')


class Module:
    """The instructions of a module, from the lines of its text."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._bodies: dict[str, list[_Instruction]] = {}
        body: list[_Instruction] = []
        for line in lines:
            if line.startswith(("%", "ENTRY")):
                body = self._bodies.setdefault(line.removeprefix("ENTRY ").split(" ", 1)[0].lstrip("%"), [])
            elif instruction := _parsed(line):
                body.append(instruction)
        self._instructions = {each.name: each for each in itertools.chain.from_iterable(self._bodies.values())}
        self._users: dict[str, list[str]] = collections.defaultdict(list)
        for each in self._instructions.values():
            for operand in each.operands:
                self._users[operand].append(each.name)

    def named(self, name: str) -> Named:
        """What an instruction came from; of one that is not there, its own name as its type."""
        instruction = self._instructions.get(name)
        if instruction is None:
            return Named("", _stem(name))
        origin = self._own(instruction)
        if origin:
            return origin
        if instruction.opcode in _PRODUCTS and (gradient := self._filter_gradient(instruction)):
            return gradient
        neighbour = self._nearest(name, self._users_of) or self._nearest(name, self._operands_of)
        if neighbour is None:
            return Named("", LAYOUT_COPY if self._only_moves(instruction) else _stem(name))
        return Named(neighbour.name, LAYOUT_COPY if self._only_moves(instruction) else neighbour.operation)

    def _own(self, instruction: _Instruction) -> Named | None:
        """Its own origin or that of the last instruction that it fuses; the first of these that tells a part."""
        fused = self._bodies.get(instruction.computation, [])
        origins = [each.origin for each in (instruction, *reversed(fused)) if each.origin]
        return next((each for each in origins if place(each.name).part not in (SUMS, OTHER)), next(iter(origins), None))

    def _only_moves(self, instruction: _Instruction) -> bool:
        fused = self._bodies.get(instruction.computation, [])
        return all(each.opcode in _MOVES for each in fused or [instruction])

    def _filter_gradient(self, instruction: _Instruction) -> Named | None:
        """Of a product of what went into a layer and the gradient that came out of it, which XLA leaves without a name.

        Its users, if any, are the optimizer's, which tell nothing of the layer.
        """
        if self._nearest(instruction.name, self._users_of):
            return None
        operands = [self._instructions[each] for each in instruction.operands if each in self._instructions]
        sides = [self._own(each) or self._nearest(each.name, self._operands_of) for each in operands]
        found = sorted((side for side in sides if side), key=lambda side: place(side.name).direction == "backward")
        if not found or place(found[-1].name).direction != "backward":
            return None
        kind = "Conv2DBackpropFilter" if instruction.opcode == "convolution" else "MatMul"
        return Named(f"gradient_tape/{found[0].name}", kind)

    def _users_of(self, name: str) -> list[str]:
        return self._users[name]

    def _operands_of(self, name: str) -> Iterable[str]:
        return self._instructions[name].operands

    def _nearest(self, name: str, neighbours: Callable[[str], Iterable[str]]) -> Named | None:
        """The nearest origin in one direction; the optimizer's count for none, since it uses every gradient."""
        seen, edge = {name}, [name]
        for _ in range(_MOST_STEPS):
            around = (each for this in edge for each in neighbours(this))
            edge = [each for each in dict.fromkeys(around) if each in self._instructions and each not in seen]
            seen.update(edge)
            origins = {each: self._own(self._instructions[each]) for each in edge}
            for origin in origins.values():
                if origin and place(origin.name).part != "optimizer":
                    return origin
            edge = [each for each, origin in origins.items() if origin is None]
        return None


def _parsed(line: str) -> _Instruction | None:
    found = _LINE.match(line)
    if not found:
        return None
    told = _TUPLE.sub("", found["told"], count=1) if found["told"].startswith("(") else found["told"]
    opcode, calls, origin = _OPCODE.search(told), _CALLS.search(told), _ORIGIN.search(told)
    if not opcode:
        return None
    return _Instruction(
        name=found["name"],
        opcode=opcode["opcode"],
        operands=tuple(re.findall(r"%([^\s,]+)", opcode["operands"])),
        computation=calls["computation"] if calls else "",
        origin=Named(origin["name"], origin["type"]) if origin else None,
    )


def _stem(name: str) -> str:
    """An instruction's name without its number."""
    return re.sub(r"\.\d+$", "", name)
