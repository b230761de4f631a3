"""Cut large images into tiles of equal size that overlap."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..settings.data import PixelFormat
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
    """Return the tiles that cover an image, row by row.

    Args:
        size: the height and width of the image.
        side: the height and width of a tile; a tile is smaller only if the image is.
    """
    (height, width), (rows, columns) = size, (min(side, size[0]), min(side, size[1]))
    return [
        Tile(top, left, rows, columns)
        for top in _starts(height, side)
        for left in _starts(width, side)
    ]


def _starts(length: int, side: int) -> Iterator[int]:
    """Yield the first pixel of each tile along a side of the image, evenly spaced."""
    last = max(length - side, 0)
    step = max(int(side * (1 - OVERLAP)), 1)
    gaps = -(-last // step)
    yield from (round(last * index / gaps) for index in range(gaps)) if gaps else ()
    yield last


class TiledImages:
    """The tiles of a sequence of pictures, each as a picture of its own (``data.tiles``).

    The size of a file whose size is not known is read from its header. The last decoded file stays
    in memory, since the tiles of a file follow one another when images are read in order.

    Attributes:
        files: int64 [tiles], the index of the file of each tile.
        tiles: int64 [tiles, 4], the ``Tile`` of each.
        sizes: int64 [files, 2], height and width of each file; 0, 0 if it is unreadable.
        paths: the path of the file of each tile.
        names: the path, with the left and the top of the tile if the file has several.
    """

    def __init__(
        self, images: Any, side: int, sizes: Sequence[tuple[int, int]] | None = None
    ) -> None:
        """Divide pictures into tiles.

        Args:
            images: a sequence of ``DecodedImage``, whose attribute ``paths`` lists the image files.
            side: the height and width of a tile in pixels.
            sizes: the height and width of each file; 0, 0 if they are not known.
        """
        self.images = images
        known = sizes or [(0, 0)] * len(images)
        read = [
            size if any(size) else _size(path, self.pixels)
            for path, size in zip(images.paths, known, strict=True)
        ]
        places, names = [], []
        for file, (path, size) in enumerate(zip(images.paths, read, strict=True)):
            tiles = tiles_of(size, side)
            places += [(file, tile) for tile in tiles]
            names += (
                [f"{path} ({tile.left},{tile.top})" for tile in tiles] if tiles[1:] else [str(path)]
            )
        # Arrays instead of lists of objects, so that worker processes share their memory.
        self.files = np.array([file for file, _ in places], dtype=np.int64)
        self.tiles = np.array([tile for _, tile in places], dtype=np.int64).reshape(-1, 4)
        self.sizes = np.array(read, dtype=np.int64).reshape(-1, 2)
        self.paths, self.names = images.paths[self.files], np.array(names)
        self._last: tuple[int, DecodedImage] | None = None

    @property
    def pixels(self) -> PixelFormat:
        """How the values of a file become the channels of a picture."""
        pixels: PixelFormat = self.images.pixels
        return pixels

    @pixels.setter
    def pixels(self, pixels: PixelFormat) -> None:
        self.images.pixels = pixels

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> DecodedImage:
        file, tile = int(self.files[index]), self.tile(index)
        if self._last is None or self._last[0] != file:
            self._last = file, self.images[file]
        parts, size = self._last[1]
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


def _size(path: str, pixels: PixelFormat) -> tuple[int, int]:
    """Return the height and width of a file; 0, 0 if it is unreadable, which its reader reports."""
    try:
        return image_size(path, pixels)
    except UnreadableImageError:
        return 0, 0


def note_tiles(splits: Mapping[str, TiledImages], side: int, reading: Reading) -> None:
    """Note how many tiles the images of each split give."""
    numbers = [
        f"{number_of(len(tiles.sizes), 'images')} of {split} give {number_of(len(tiles), 'tiles')}"
        for split, tiles in splits.items()
    ]
    reading.note(f"data.tiles={side}: {', '.join(numbers)}.")
