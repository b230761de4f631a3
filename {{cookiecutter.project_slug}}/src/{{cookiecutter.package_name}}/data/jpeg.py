"""Recognise JPEG files that end early despite an end marker{{ ", and decode the others fast" if cookiecutter.scope == "complete" }}.

Decoders raise nothing: the missing part becomes grey, or a progressive image is blurred.
"""

import io
import re
from pathlib import Path

# ~ if cookiecutter.scope == "complete"
import torch
from PIL import Image
from torch import Tensor
from torchcodec.decoders import decode_jpeg

from .image_formats import orientation_of, upright

# ~ else
from PIL import Image

# ~ endif
END = b"\xff\xd9"
PROGRESSIVE = b"\xff\xc2"
# ~ if cookiecutter.scope == "complete"
# Markers of a JPEG file (ITU T.81, table B.1): those of its size, and those to skip.
JPEG_SIZES = {b"\xff\xc0", b"\xff\xc1", PROGRESSIVE}
JPEG_SKIPPED = {bytes([0xFF, code]) for code in (0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0))}
JPEG_METADATA = b"\xff\xe1"  # Exif or XMP
# ~ endif
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


# ~ if cookiecutter.scope == "complete"
def decode_jpeg_file(path: str, max_pixels: int) -> Tensor:
    """Decode a JPEG file to the pixels of Pillow, RGB, uint8 [3, H, W], upright, but faster.

    The orientation is the one that Pillow reads. torchcodec gets the file without metadata, since
    it knows neither XMP nor all forms of Exif. If there is no other metadata than Exif, Pillow need
    not open the file, which saves a third of the time for a small photo.

    Raises:
        OSError: if the file cannot be opened.
        RuntimeError, ValueError: if Pillow must read the file.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - faster than a Path
        content = file.read()
    place, metadata = 2, []
    while (marker := content[place : place + 2]) in JPEG_SKIPPED:
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4])
        if marker == JPEG_METADATA:
            metadata.append(slice(place, end))
        place = end
    height, width = (int.from_bytes(content[start : start + 2]) for start in (place + 5, place + 7))
    cmyk = content[place + 9 : place + 10] == b"\4"
    if marker not in JPEG_SIZES or cmyk or not 0 < height * width <= max_pixels:
        raise ValueError("the header or the colours are unusual, or the image is too large")
    orientation, exif = 1, content[metadata[0]][4:] if len(metadata) == 1 else b""
    if exif.startswith(b"Exif"):
        orientation = orientation_of(exif)
    elif metadata:
        with Image.open(io.BytesIO(content)) as image_file:
            orientation = orientation_of(image_file)
    for part in reversed(metadata):
        content = content[: part.start] + content[part.stop :]
    image: Tensor = decode_jpeg(content)
    grey = image[:, -1, -1].tolist() == [128, 128, 128]  # a missing pixel may be the reason
    if (marker == PROGRESSIVE and lacks_scans(content)) or (grey and lacks_pixels(content)):
        raise ValueError("the file ends early")
    if orientation == 1:
        return image
    return torch.from_numpy(upright(image.permute(1, 2, 0).numpy(), orientation)).permute(2, 0, 1)


# ~ endif
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
