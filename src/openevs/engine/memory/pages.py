"""A sparse table of pages: the bytes of a volume or of a snapshot."""

from typing import Final

PAGE_BYTES: Final = 4096
_ZERO_PAGE: Final = bytes(PAGE_BYTES)


class Pages:
    """A sparse table of pages; shares its entries with its copies until one of them is written to."""

    def __init__(self, table: dict[int, bytes] | None = None) -> None:
        self._table = {} if table is None else table
        self._shared = table is not None

    def fork(self) -> "Pages":
        """Return a table with the same bytes, in constant time."""
        self._shared = True
        return Pages(self._table)

    def identities(self) -> set[int]:
        """Return one number for each page held, the same number for a page that is shared."""
        return {id(page) for page in self._table.values()}

    def changed(self, since: "Pages") -> list[int]:
        """Return the numbers of the pages that are not those of another table, in order."""
        numbers = self._table.keys() | since._table.keys()
        return sorted(number for number in numbers if self._table.get(number) is not since._table.get(number))

    def read(self, offset: int, length: int) -> bytes:
        first, skip = divmod(offset, PAGE_BYTES)
        last = -(-(offset + length) // PAGE_BYTES)
        joined = b"".join(self._table.get(number, _ZERO_PAGE) for number in range(first, last))
        return joined[skip : skip + length]

    def write(self, offset: int, data: bytes) -> None:
        table = self._own()
        done = 0
        while done < len(data):
            number, skip = divmod(offset + done, PAGE_BYTES)
            piece = data[done : done + PAGE_BYTES - skip]
            old = table.get(number, _ZERO_PAGE)
            new = old[:skip] + piece + old[skip + len(piece) :]
            if new == _ZERO_PAGE:
                table.pop(number, None)
            else:
                table[number] = new
            done += len(piece)

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros, in time that does not depend on the range's length."""
        first_whole = -(-offset // PAGE_BYTES)
        end_whole = (offset + length) // PAGE_BYTES
        if first_whole >= end_whole:
            self.write(offset, bytes(length))
            return
        table = self._own()
        for number in [number for number in table if first_whole <= number < end_whole]:
            del table[number]
        self.write(offset, bytes(first_whole * PAGE_BYTES - offset))
        self.write(end_whole * PAGE_BYTES, bytes(offset + length - end_whole * PAGE_BYTES))

    def _own(self) -> dict[int, bytes]:
        if self._shared:
            self._table = dict(self._table)
            self._shared = False
        return self._table
