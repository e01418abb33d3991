"""Text that came from adapters and users, as it may be printed."""


def printable(text: str) -> str:
    """`text` with every character escaped that ends a line or controls a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def count(number: int, what: str) -> str:
    """A number of things: 1 case, 1,200 cases."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
