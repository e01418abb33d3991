"""The addresses of kterm's pages and of its repository. Every address that is printed is made here."""

DOCUMENTATION = "https://kterm.dev/"
"""Where the pages of documentation are read. It ends with a slash."""
REPOSITORY = "https://github.com/kterm/kterm"
"""Where the source is read. It does not end with a slash."""


def page_link(page: str, section: str = "") -> str:
    """The address of a page of documentation, by its name without ending, such as "checks". `section` is the anchor of
    one of its headings, such as "exit-codes".
    """
    return f"{DOCUMENTATION}{page}.html" + (f"#{section}" if section else "")


def read_on(page: str = "", section: str = "") -> str:
    """The end of the help of a command: where it is explained. Without a page, where all pages are."""
    # Click leaves a paragraph after \b as it is: half an address would lead nowhere on a narrow terminal.
    return f"\b\nRead on:\n{page_link(page, section) if page else DOCUMENTATION}"
