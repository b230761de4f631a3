"""Build a self-contained HTML page, in which the style sheet and the images are embedded."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

MAX_PIXELS = 1500  # maximum length of the longer side of an image
WIDE = 640  # pixels; phones scroll wider images, since shrinking makes their text illegible

STYLE = Path(__file__).with_name("page.css")


def page(title: str, sections: Sequence[tuple[str, str]]) -> str:
    """Return an HTML document; a section is a heading in plain text and its content in HTML."""
    body = "".join(f"<h2>{html.escape(heading)}</h2>\n{content}\n" for heading, content in sections)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{STYLE.read_text(encoding="utf-8")}</style></head>
<body><h1>{html.escape(title)}</h1>
{body}</body></html>
"""


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return an HTML table of plain text and numbers; None is shown as a dash.

    With an empty ``header``, it is a table of properties: names in the first column, then values.
    """
    columns = zip(*rows, strict=True)
    styles = [
        " class=number" if any(isinstance(cell, int | float) for cell in column) else ""
        for column in columns
    ]

    def line(tag: str, row: Sequence[object]) -> str:
        cells = zip(styles, map(_text, row), strict=True)
        return f"<tr>{''.join(f'<{tag}{style}>{text}</{tag}>' for style, text in cells)}</tr>\n"

    head = f"<thead>{line('th', header)}</thead>" if header else ""
    body = "".join(line("td", row) for row in rows)
    kind = "" if header else ' class="facts"'
    return f'<div class="scroll"><table{kind}>{head}<tbody>{body}</tbody></table></div>'


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else html.escape(str(value))


def image(picture: Path | Image.Image, caption: str) -> str:
    """Return an HTML figure with an embedded image and a caption in plain text."""
    shown = (Image.open(picture) if isinstance(picture, Path) else picture).convert("RGB")
    shown.thumbnail((MAX_PIXELS, MAX_PIXELS))
    content = io.BytesIO()
    shown.save(content, "WEBP", quality=85)
    data = base64.b64encode(content.getvalue()).decode()
    kind = ' class="wide"' if shown.width > WIDE else ""
    text = html.escape(caption)
    return (
        f'<figure><div class="scroll"><img{kind} alt="{text}" width="{shown.width}" '
        f'height="{shown.height}" src="data:image/webp;base64,{data}"></div>'
        f"<figcaption>{text}</figcaption></figure>\n"
    )
