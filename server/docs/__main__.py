"""Write what is made from the code."""

from collections.abc import Callable

from server.docs import FOLDER, metrics_page, protocol_page, settings_page
from server.docs.asyncapi import as_yaml, document
from server.docs.events_page import events_page

PAGES: dict[str, Callable[[], str]] = {
    "metrics.md": metrics_page,
    "settings.md": settings_page,
    "protocol.md": protocol_page,
    "asyncapi.yaml": lambda: as_yaml(document()),
    "events.md": lambda: events_page(document()),
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
