"""What a stream remembers of its keys to go on: a ring of the newest, and rows for those seen for ever. No torch."""

from dataclasses import dataclass

from longwatch.kernels.pattern import Dense, Global, Pattern, Strided

__all__ = ["CachePart", "cache_parts"]


@dataclass(frozen=True, slots=True)
class CachePart:
    """One buffer of keys, and one of values: a ring of the newest (`columns` is None), or a row for each column.

    A ring's key at position p is in row p modulo the rows. Column i is in row i; the last row takes what is no column.
    """

    span: int
    columns: Global | Strided | None

    @property
    def grows(self) -> bool:
        """The rows it needs rise with the stream's length."""
        return isinstance(self.columns, Strided)

    def rows(self, length: int, chunk: int) -> int:
        """Rows that a stream of up to `length` events needs when up to `chunk` of them come at once."""
        if self.columns is None:
            return self.span + chunk - 1
        if isinstance(self.columns, Global):
            return self.columns.first + 1
        stride, width = self.columns.stride, self.columns.width
        return length // stride * width + max(0, length % stride - (stride - width)) + 1


def cache_parts(pattern: Pattern) -> tuple[CachePart, ...]:
    """The buffers of one layer: every visible key is in exactly one of them, once later ones leave out earlier ones'.

    ValueError for topk: what data chooses later cannot be known when a key is written.
    """
    if pattern.data_chosen is not None:
        raise ValueError(f"{pattern}: what a stream must remember depends on the data; expected a rule of positions")
    if Dense() in pattern.parts:
        return (CachePart(0, Strided(1, 1)),)
    ring = (CachePart(pattern.band, None),) if pattern.band else ()
    columns = (part for part in pattern.parts if isinstance(part, Global | Strided))
    return (*ring, *(CachePart(pattern.band or 0, part) for part in columns))
