"""What the pages link to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("results/**/*.md")),
]
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
INLINE = re.compile(r"`[^`]*`")
LINK = re.compile(
    r"\]\(\s*([^)\s]+)[^)]*\)|<(?:img|a)\s[^>]*?(?:src|href)=\"([^\"]+)\""
)


def prose(page):
    """The page's text without the code it shows."""
    return FENCED.sub("", page.read_text("utf-8"))


def links(page):
    """What a page links to inside the project."""
    found = LINK.findall(INLINE.sub("", prose(page)))
    targets = [markdown or html for markdown, html in found]
    return [t for t in targets if not re.match(r"[a-z]+:", t)]


def anchors(page):
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ +(.+?)\s*$", prose(page), re.M)
    return {
        re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings
    }


def leads_somewhere(page, link, root=ROOT):
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    # A link out of the project works on one machine alone.
    if not (target.is_relative_to(root) and target.exists()):
        return False
    return not anchor or anchor in anchors(target)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_and_picture_of_a_page_is_there(page):
    assert [x for x in links(page) if not leads_somewhere(page, x)] == []


def test_links_are_found_in_the_readme():
    found = links(ROOT / "README.md")
    assert {"docs/runs.md", "docs/demo-desktop.png"} <= set(found)


@pytest.mark.parametrize(
    "link, good",
    [
        ("page.md", True),
        ("#two-words-here", True),
        ("page.md#code-and-more", True),
        ("page.md#not-a-heading", False),
        ("#inside-a-block", False),
        ("missing.png", False),
        ("/etc/hostname", False),
    ],
)
def test_what_a_link_leads_to_is_looked_at(tmp_path, link, good):
    root = tmp_path.resolve()
    page = root / "page.md"
    page.write_text(
        "# Two words, here\n\n```\n# Inside a block\n```\n\n"
        "## `code` and more\n"
    )
    assert leads_somewhere(page, link, root) is good
