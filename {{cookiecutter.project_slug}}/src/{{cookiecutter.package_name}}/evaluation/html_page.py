"""Self-contained HTML pages: no scripts, no style sheets and no pictures from elsewhere."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; }
td, th { border-bottom: 1px solid #ccc; padding: 0.2rem 0.8rem 0.2rem 0; text-align: left; }
figure { margin: 1rem 0; }
img { max-width: 100%; }
"""


def page(title: str, sections: Sequence[tuple[str, str]]) -> str:
    """Return an HTML page; each section is a heading and its HTML body."""
    bodies = [f"<h2>{escape(heading)}</h2>\n{body}" for heading, body in sections]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    content = "\n".join([f"<h1>{escape(title)}</h1>", *bodies])
    body = f"<head>{head}</head>\n<body>\n{content}\n</body>"
    return f'<!doctype html>\n<html lang="en">{body}</html>\n'


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return an HTML table; every cell is escaped."""
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in header)]
    lines += ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    return "<div><table>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table></div>"


def image(path: Path, caption: str) -> str:
    """Return an HTML figure with the PNG file embedded."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    source = f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
    return f"<figure>{source}<figcaption>{escape(caption)}</figcaption></figure>"
