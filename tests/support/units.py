"""The image's units as tables, for tests of what stands in them. What a key means is systemd's to say."""

from pathlib import Path

IMAGE = Path(__file__).parents[2] / "image"
UNITS = IMAGE / "units"


def read(name: str) -> dict[str, dict[str, list[str]]]:
    """A unit's sections; a key may stand in one more than once."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in (UNITS / name).read_text().replace("\\\n", " ").splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return sections


def words(unit: str, section: str, key: str) -> set[str]:
    """The words of all values of a key."""
    return set(" ".join(read(unit)[section].get(key, [])).split())
