"""Recognise JPEG files that end early although they have an end marker.

Decoders raise nothing: the missing part becomes grey, or a progressive image is blurred.
"""

import io
import re
from pathlib import Path

from PIL import Image

END = b"\xff\xd9"
PROGRESSIVE = b"\xff\xc2"
SCAN = re.compile(rb"\xff\xda\x00[\x08-\x0e]([\x01-\x04])", re.DOTALL)
FURTHER_PIXELS = bytes(range(1, 251))  # any bytes without a marker


def check_complete(path: str, image: Image.Image) -> None:
    """Raise an ``OSError`` if a JPEG file, which Pillow has decoded, ends early."""
    last = image.getpixel((image.width - 1, image.height - 1))
    progressive = image.info.get("progressive", False)
    grey = last in {128, (128, 128, 128), (127, 127, 127, 127)}  # missing pixels of each mode
    content = Path(path).read_bytes() if grey or progressive else b""
    if (progressive and lacks_scans(content)) or (grey and lacks_pixels(content)):
        raise OSError("the file ends early, so a part of the image is missing")


def lacks_scans(content: bytes) -> bool:
    """Return whether a progressive JPEG file lacks scans, by ITU T.81, B.2.3 and G.1.1.1.

    Each scan refines some of the 64 coefficients of some components; the file is complete when each
    coefficient has been sent to its last bit. An end within the last scan is not noticed: such an
    image differs from the whole one by a step of the quantisation.
    """
    complete: dict[int, set[int]] = {}
    for scan in SCAN.finditer(content, max(content.find(PROGRESSIVE), 0)):
        place, count = scan.end(), content[scan.end() - 1]
        first, last, bits = content[place + 2 * count : place + 2 * count + 3]
        for component in content[place : place + 2 * count : 2]:
            sent = complete.setdefault(component, set())
            if bits & 15 == 0:
                sent.update(range(first, last + 1))
    return any(len(sent) < 64 for sent in complete.values())


def lacks_pixels(content: bytes) -> bool:
    """Return whether the decoder would use more data than a JPEG file has."""
    end, thumbnails = content.rfind(END), []
    for further in (b"", FURTHER_PIXELS):
        with Image.open(io.BytesIO(content[:end] + further + content[end:])) as image:
            image.draft("L", (1, 1))  # a pixel for each block, in less than half of the time
            thumbnails.append(image.tobytes())
    return thumbnails[0] != thumbnails[1]
