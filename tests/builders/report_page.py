"""A page of a report, as a browser would read it."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Checks that elements are closed, and collects texts and what could be loaded from elsewhere."""

    VOID = ("meta", "line", "polyline", "link", "img")

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.feed(content)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [value for name, value in attributes if name in ("src", "href", "onload")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, _attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(" ".join(data.split()))
