"""Who else reads what a capture has seen: a walk through autograd's graph before a backward pass.

A captured call marks the node of its output, z, and that of its input's alias. What lies between is the call's own. A
parameter that is reached from anywhere else has another part in its gradient, which nobody saw.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor

Node = Any
"""A node of autograd's graph, as `grad_fn` gives it."""
Mark = tuple[int, Literal["output", "input"]]


class Marked(Protocol):
    """A call whose nodes are marked, with its parameters."""

    @property
    def parameters(self) -> Sequence[Tensor]: ...


@dataclass(frozen=True)
class Readers:
    """How many edges lead to the output of each call that a pass reaches, by the number of the call; and for each
    parameter that something else uses, by `id`, the name of the node that does.
    """

    of_output: dict[int, int] = field(default_factory=dict)
    others: dict[int, str] = field(default_factory=dict)


class Marks:
    """Marks on nodes. They are plain numbers under a key of this capture, so they keep nothing alive."""

    def __init__(self, find: Callable[[int], Marked | None]) -> None:
        """`find` gives the call of a number, or None if it is gone."""
        self._key, self._find, self._types = object(), find, set[type]()

    def add(self, node: Node, mark: Mark) -> None:
        """Mark a node."""
        node.metadata[self._key] = mark
        self._types.add(type(node))

    def of(self, node: Node) -> tuple[int, str, Marked] | None:
        """The number of a node's call, which end of the call it is, and the call."""
        # Reading metadata makes a dictionary, so nodes of other types are left as they are.
        mark: Mark | None = node.metadata.get(self._key) if type(node) in self._types else None
        call = None if mark is None else self._find(mark[0])
        return None if mark is None or call is None else (*mark, call)

    def read_graph(self, roots: Iterable[Node]) -> Readers:
        """Walk from the nodes where a backward pass begins."""
        walk = _Walk(self)
        for root in roots:
            walk.follow(root, "the start of the pass")
        walk.finish()
        return walk.found


class _Walk:
    def __init__(self, marks: Marks) -> None:
        self.found = Readers()
        self._marks = marks
        # Nodes are compared by their Python objects, so these live as long as the walk.
        self._seen, self._entered = set[Node](), set[int]()
        self._stack: list[Node] = []

    def finish(self) -> None:
        while self._stack:
            node = self._stack.pop()
            for after, _ in node.next_functions:
                self.follow(after, type(node).__name__)

    def follow(self, node: Node | None, reader: str) -> None:
        """Go along an edge outside of all calls."""
        if node is None:
            return
        if (variable := _variable_of(node)) is not None:
            self.found.others.setdefault(id(variable), reader)
        elif (mark := self._marks.of(node)) is not None and mark[1] == "output":
            number, _, call = mark
            self.found.of_output[number] = self.found.of_output.get(number, 0) + 1
            if number not in self._entered:
                self._entered.add(number)
                self._pass_through(node, number, call)
        elif node not in self._seen:
            self._seen.add(node)
            self._stack.append(node)

    def _pass_through(self, start: Node, number: int, call: Marked) -> None:
        """Go through the nodes of a call, to the alias of its input."""
        own, inside, visited = {id(one) for one in call.parameters}, [start], {start}
        while inside:
            node = inside.pop()
            for after, _ in node.next_functions:
                if after is None or after in visited:
                    continue
                visited.add(after)
                mark = self._marks.of(after)
                if mark is not None and mark[:2] == (number, "input"):
                    self._seen.add(after)
                    self._stack.append(after)
                elif (variable := _variable_of(after)) is None:
                    inside.append(after)
                elif id(variable) not in own:
                    self.found.others.setdefault(id(variable), type(node).__name__)


def _variable_of(node: Node) -> Tensor | None:
    """The leaf whose gradient a node accumulates, or None for a node of any other kind."""
    return node.variable if type(node).__name__ == "AccumulateGrad" else None
