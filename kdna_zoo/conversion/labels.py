"""Labels of channel spaces while a trace is walked: which are one, which are fixed, what they have.

A union-find over spaces, and one over the order of their blocks.
"""

from kdna_zoo.conversion.spaces import Space, Touch


class Labels:
    """Spaces under construction, each known by one or more numbers."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._size: list[int] = []
        self._fixed: list[bool] = []
        self._blocks: list[int] = []
        self._touches: list[list[Touch]] = []
        self._bundle: list[int] = []  # a union-find of its own, over the same numbers

    def new(self, size: int) -> int:
        """Begin a space of so many channels."""
        label = len(self._parent)
        self._parent.append(label)
        self._bundle.append(label)
        self._size.append(size)
        self._fixed.append(False)
        self._blocks.append(1)
        self._touches.append([])
        return label

    def size(self, label: int) -> int:
        """Return the number of channels."""
        return self._size[self._find(label)]

    def fix(self, label: int) -> None:
        """Say that the order of its channels cannot change."""
        self._fixed[self._find(label)] = True

    def touch(self, label: int, touch: Touch) -> None:
        """Say that a tensor has to be permuted with it."""
        touches = self._touches[self._find(label)]
        if touch not in touches:
            touches.append(touch)

    def unite(self, first: int, second: int) -> None:
        """Make one space of two."""
        a, b = self._find(first), self._find(second)
        if a == b:
            return
        self._parent[b] = a
        self._touches[a] += [touch for touch in self._touches[b] if touch not in self._touches[a]]
        self._fixed[a] = self._fixed[a] or self._fixed[b]
        self._block(a, self._blocks[b])
        self._tie(a, b)

    def bundle(self, first: int, second: int, blocks: int) -> None:
        """Give two spaces blocks that move together."""
        for label in (first, second):
            self._block(self._find(label), blocks)
        self._tie(first, second)

    def spaces(self) -> list[Space]:
        """Return the spaces that can be permuted, in the order in which they began."""
        roots = [label for label in range(len(self._parent)) if self._find(label) == label]
        ordered = {self._order(root) for root in roots if self._fixed[root]}
        found = []
        for root in roots:
            blocks = self._blocks[root]
            held = blocks > 1 and self._order(root) in ordered
            movable = self._size[root] > (blocks if held else 1)
            if not self._fixed[root] and movable and self._touches[root]:
                touches, bundle = tuple(self._touches[root]), self._order(root)
                found.append(Space(self._size[root], touches, blocks, bundle, held))
        return found

    def _block(self, root: int, blocks: int) -> None:
        if self._blocks[root] == 1:
            self._blocks[root] = blocks
        elif blocks not in (1, self._blocks[root]):
            self._fixed[root] = True

    def _tie(self, first: int, second: int) -> None:
        self._bundle[self._order(second)] = self._order(first)

    def _find(self, label: int) -> int:
        while self._parent[label] != label:
            label = self._parent[label]
        return label

    def _order(self, label: int) -> int:
        while self._bundle[label] != label:
            label = self._bundle[label]
        return label
