"""Cut large images into tiles of equal size that overlap."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from .images import DecodedImage, UnreadableImageError, image_size, size_conflict
from .reading_summary import Reading, number_of

OVERLAP = 0.25  # smallest overlap of neighbouring tiles, as a fraction of the tile's side


class Tile(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """The rows of the image that the tile covers."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """The columns of the image that the tile covers."""
        return slice(self.left, self.left + self.width)


def tiles_of(size: tuple[int, int], side: int) -> list[Tile]:
    """Return the tiles that cover an image of this height and width, row by row.

    They have a height and a width of ``side`` pixels, or those of the image if these are smaller.
    """
    height, width = (min(side, length) for length in size)
    tops, lefts = (_starts(length, side) for length in size)
    return [Tile(top, left, height, width) for top in tops for left in lefts]


def _starts(length: int, side: int) -> list[int]:
    """Return the first pixel of each tile along a side of the image, evenly spaced."""
    last = max(length - side, 0)
    gaps = -(-last // max(int(side * (1 - OVERLAP)), 1))
    return [round(last * index / max(gaps, 1)) for index in range(gaps + 1)]


class TiledImages:
    """The tiles of a sequence of images, each as an image of its own (``data.tiles``).

    The last decoded file stays in memory, since the tiles of a file follow one another when images
    are read in order.

    Args:
        images: a sequence of ``DecodedImage``, whose attribute ``paths`` lists the image files.
        side: the height and width of a tile in pixels.
        sizes: the height and width of each file; 0, 0 if they must be read from its header.
    """

    def __init__(
        self, images: Any, side: int, sizes: Sequence[tuple[int, int]] | None = None
    ) -> None:
        self.images = images
        places, names, read = [], [], []
        for file, path in enumerate(images.paths):
            size = sizes[file] if sizes else (0, 0)
            if not any(size):
                with suppress(UnreadableImageError):  # the data set reports it
                    size = image_size(path, images.pixels)
            tiles = tiles_of(size, side)
            read.append(size)
            places += [(file, *tile) for tile in tiles]
            several = len(tiles) > 1
            names += [f"{path} ({tile.left},{tile.top})" if several else path for tile in tiles]
        # Arrays instead of lists of objects, so that worker processes share their memory.
        numbers = np.array(places, dtype=np.int64).reshape(-1, 5)
        self.files, self.tiles = numbers[:, 0], numbers[:, 1:]  # index of the file; a ``Tile`` each
        self.sizes = np.array(read, dtype=np.int64).reshape(-1, 2)  # of each file
        self.paths, self.names = images.paths[self.files], np.array(names)  # of each tile
        self._last: tuple[int, DecodedImage] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> DecodedImage:
        file, tile = int(self.files[index]), self.tile(index)
        last = self._last  # another thread may replace it
        if last is None or last[0] != file:
            self._last = last = (file, self.images[file])
        parts, size = last[1]
        expected = tuple(self.sizes[file].tolist())
        if size != expected:
            raise UnreadableImageError(str(self.paths[index]), size_conflict(size, expected))
        cut = tuple(part[:, tile.rows, tile.columns] for part in parts)
        return DecodedImage(cut, (tile.height, tile.width))

    def tile(self, index: int) -> Tile:
        """Return the place of a tile in its file."""
        return Tile(*self.tiles[index].tolist())

    def source(self, index: int) -> tuple[list[str], object]:
        """Return the files of a tile, and what else its pixels depend on."""
        files, record = self.images.source(int(self.files[index]))
        return files, (record, self.tile(index))


def note_tiles(splits: Mapping[str, TiledImages], side: int, reading: Reading) -> None:
    """Note how many tiles the images of each split give."""
    numbers = [
        f"{number_of(len(tiles.sizes), 'images')} of {split} give {number_of(len(tiles), 'tiles')}"
        for split, tiles in splits.items()
    ]
    reading.note(f"data.tiles={side}: {', '.join(numbers)}.")
