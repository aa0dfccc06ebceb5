"""Index of the pixels of each class in each image, with a cache of the counts between runs."""

from __future__ import annotations

import ctypes
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lossmaxpool._version import __version__
from lossmaxpool.atomic import write_atomically
from lossmaxpool.classes import count_classes
from lossmaxpool.ops.ranks import ranks
from lossmaxpool.processes import begin_worker

Progress = Callable[[int, int], None]


class CacheError(OSError):
    """The counts cannot be cached in the given folders."""


class ClassIndex:
    """Index of the images that contain each class.

    Args:
        counts: (N, C) integers >= 0, pixels of each class in each of N images, as
            ``lossmaxpool.data.class_statistics(dataset).pixels`` holds them.

    Attributes:
        counts: (N, C) int64.

    Raises:
        ValueError: ``counts`` is not such a tensor, or has no images or no classes.

    Example:
        >>> index = ClassIndex(torch.tensor([[9, 0, 0], [5, 4, 0]]))
        >>> index.images(0).tolist(), index.images(1).tolist(), index.absent
        ([0, 1], [1], (2,))
    """

    counts: Tensor

    def __init__(self, counts: Tensor) -> None:
        if not isinstance(counts, Tensor):
            raise ValueError(
                f"counts is a {type(counts).__name__}; expected a tensor (images, classes): "
                "torch.as_tensor makes one"
            )
        if counts.ndim != 2 or 0 in counts.shape:
            raise ValueError(
                f"counts has shape {tuple(counts.shape)}; expected (images, classes), at least one "
                "of each"
            )
        if counts.is_floating_point() or counts.is_complex() or counts.dtype == torch.bool:
            raise ValueError(f"counts has dtype {counts.dtype}; expected integers")
        if int(counts.min()) < 0:
            raise ValueError(f"counts has negative entries (smallest {int(counts.min())})")
        self.counts = counts.to("cpu", torch.int64).contiguous()
        held = self.counts > 0
        images = held.t().nonzero()[:, 1]  # grouped by class, ascending within each
        self._images = torch.split(images, held.sum(0).tolist())

    @classmethod
    def build(
        cls,
        mask: Callable[[int], Tensor],
        num_images: int,
        num_classes: int,
        *,
        ignore_index: int = 255,
        fingerprint: Callable[[int], bytes] | None = None,
        cache: Path | str | Sequence[Path] | None = None,
        workers: int = 0,
        progress: Progress | None = None,
    ) -> ClassIndex:
        """Count the classes of every mask, reusing cached counts.

        Cached counts are looked up by each mask's fingerprint. A fingerprint of the content, e.g.
        :func:`file_fingerprint`, cannot be outdated: a changed mask has another fingerprint and is
        counted again. Reading and hashing a file is much faster than decoding it.

        Args:
            mask: Function from an image's index to its (H, W) class ids: ``dataset.mask``, or
                ``lambda i: dataset[i][1]``.
            fingerprint: Function from an index to bytes that are equal only for equal masks.
            cache: Folder for cached counts, created if missing. If several are given, e.g. by
                :func:`cache_folders`, all are read, and new counts are written to the first that
                is writable. None counts every mask.
            workers: Number of processes that count; 0 counts in this process.
            progress: Called with (masks counted, masks to count) after each mask.

        Raises:
            CacheError: Masks have to be counted, but no folder is writable; raised before
                counting.
            ValueError: A cache without a fingerprint, no images, a mask with invalid ids, or one
                that changed while it was counted.
        """
        if num_images < 1 or num_classes < 1:
            raise ValueError(
                f"there are {num_images} images and {num_classes} classes: an index needs at least "
                "one of each"
            )
        if cache is not None and fingerprint is None:
            raise ValueError(
                "a cache needs a fingerprint: without one, a mask that was changed would not be "
                "noticed; pass file_fingerprint of its file"
            )
        masks = _Counts(mask, num_classes, ignore_index)
        if cache is None or fingerprint is None:
            return cls(torch.stack(list(_count(masks, range(num_images), workers, progress))))
        folders = [Path(cache)] if isinstance(cache, (str, Path)) else cache
        files = [folder / _cache_name(num_classes, ignore_index) for folder in folders]
        keys = [fingerprint(i) for i in range(num_images)]
        known = _read(files, num_classes)
        missing = [i for i, key in enumerate(keys) if key not in known]
        if missing:
            file = _writable(files, len(missing))
            counted = _count(masks, missing, workers, progress)
            known |= {keys[i]: row for i, row in zip(missing, counted, strict=True)}
            # If the file was replaced meanwhile, its counts would be stored for the old content.
            changed = [i for i in missing if fingerprint(i) != keys[i]]
            if changed:
                raise ValueError(
                    f"the masks of {len(changed)} images, image {changed[0]} first, changed while "
                    "they were counted: build the index once nobody writes them"
                )
            _write(file, known)
        return cls(torch.stack([known[key] for key in keys]))

    @property
    def num_images(self) -> int:
        """The number of images, N."""
        return self.counts.shape[0]

    @property
    def num_classes(self) -> int:
        """The number of classes, C."""
        return self.counts.shape[1]

    @property
    def absent(self) -> tuple[int, ...]:
        """The classes without pixels."""
        return tuple(c for c, images in enumerate(self._images) if len(images) == 0)

    @property
    def present(self) -> Tensor:
        """(C,) bool, the classes with pixels."""
        return torch.tensor([len(images) > 0 for images in self._images])

    def images(self, class_id: int) -> Tensor:
        """The images that contain a class, int64, ascending."""
        return self._images[class_id]

    @property
    def digest(self) -> str:
        """A hash of the counts; equal for two indices of the same data."""
        shape = str(tuple(self.counts.shape)).encode()
        # Read the memory with ctypes, because Tensor.numpy would need NumPy.
        memory = ctypes.string_at(self.counts.data_ptr(), self.counts.nbytes)
        return blake2b(memory, digest_size=16, key=shape).hexdigest()

    def __repr__(self) -> str:
        absent = f", without a pixel: {self.absent}" if self.absent else ""
        return (
            f"ClassIndex({self.num_images} images, {self.num_classes} classes, "
            f"{int(self.counts.sum()):,} labeled pixels{absent})"
        )

    def check_ranks(self) -> None:
        """Compare the index with those of the other ranks of the default process group.

        Every rank must call this method; without a group it does nothing.

        Raises:
            ValueError: The ranks have different data; raised on all ranks.
        """
        everywhere = ranks(True)
        if everywhere.size == 1:
            return
        digests = everywhere.each(self.digest)
        different = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
        if different:
            raise ValueError(
                f"the ranks {', '.join(map(str, different))} see other masks than rank 0: "
                "give every node the same data set, in the same state"
            )


class _Counts(Dataset[Tensor | ValueError]):
    """The counts of one mask by index, for a loader with workers.

    Errors are returned instead of raised, because a worker's traceback would hide the message.
    """

    def __init__(self, mask: Callable[[int], Tensor], num_classes: int, ignore_index: int) -> None:
        self.mask = mask
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def __getitem__(self, image: int) -> Tensor | ValueError:
        try:
            return count_classes(self.mask(image), self.num_classes, self.ignore_index)
        except ValueError as error:
            return ValueError(f"image {image}: {error}")


def _count(
    masks: _Counts, numbers: Sequence[int], workers: int, progress: Progress | None
) -> Iterator[Tensor]:
    # An own generator: a loader would otherwise advance the global one.
    loader = DataLoader(
        masks,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        worker_init_fn=begin_worker,
        generator=torch.Generator(),
    )
    for done, row in enumerate(loader, start=1):
        if isinstance(row, ValueError):
            raise row
        yield row.clone()  # copy: a tensor from a worker keeps a file descriptor open
        if progress is not None:
            progress(done, len(numbers))


def file_fingerprint(path: Path | str, ids: Mapping[int, int] | None = None) -> bytes:
    """A hash of a mask file's bytes and of its mapping from ids to classes.

    Size and modification time would not suffice: copying, unpacking or checking out a file can
    change its content and keep both. Reading the bytes is much faster than decoding them.

    Args:
        path: The file.
        ids: The class of each id in the file, if ids are mapped.

    Returns:
        16 bytes.

    Raises:
        OSError: The file cannot be read.
    """
    meaning = repr(sorted(ids.items()) if ids is not None else None).encode()
    content = blake2b(Path(path).read_bytes(), digest_size=32).digest()
    return blake2b(content + meaning, digest_size=16).digest()


def cache_folders(beside: Path | str | None = None) -> list[Path]:
    """The folders for cached counts: beside the data, or else in the user's cache.

    Args:
        beside: Folder of the data set; the cache is its subfolder ``.lossmaxpool``, which all
            users of the data share.

    Returns:
        The folders for :meth:`ClassIndex.build`, which need not exist.
    """
    folders = [] if beside is None else [Path(beside) / ".lossmaxpool"]
    given = os.environ.get("XDG_CACHE_HOME")
    with suppress(RuntimeError):  # no home folder
        folders.append((Path(given) if given else Path.home() / ".cache") / "lossmaxpool")
    return folders


# The cache is one file of counts, keyed by the fingerprints of the masks, so that changed masks are
# recounted and the order and splits of a data set do not matter. The file's name contains classes,
# ignored value and package version. The file begins with a hash of its content to detect damage,
# and is always replaced as a whole.
_DIGEST_SIZE = 16


def _cache_name(num_classes: int, ignore_index: int) -> str:
    meaning = f"{__version__} {num_classes} {ignore_index}".encode()
    return f"class-counts-{blake2b(meaning, digest_size=6).hexdigest()}.bin"


def _read(files: Sequence[Path], num_classes: int) -> dict[bytes, Tensor]:
    """Read the (C,) counts by fingerprint from all existing files; warn about unreadable ones."""
    known: dict[bytes, Tensor] = {}
    for path in files:
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            warnings.warn(f"the class index in {path} cannot be read: {error}", stacklevel=3)
            continue
        digest, body = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
        if blake2b(body, digest_size=_DIGEST_SIZE).digest() != digest:
            warnings.warn(
                f"the class index in {path} is damaged: the masks are counted again", stacklevel=3
            )
            continue
        table = torch.load(io.BytesIO(body), weights_only=True)
        rows = torch.zeros(len(table["keys"]), num_classes, dtype=torch.int64)
        rows[table["image"].long(), table["class"].long()] = table["pixels"]
        known |= {bytes.fromhex(key): row for key, row in zip(table["keys"], rows, strict=True)}
    return known


def _writable(files: Sequence[Path], num_missing: int) -> Path:
    """The first writable file; called before any mask is counted."""
    problems = []
    for path in files:
        problem = why_not_writable(path.parent)
        if problem is None:
            return path
        problems.append(f"{path.parent} ({problem})")
    raise CacheError(
        f"the class index cannot be kept in {', '.join(problems) or 'any folder'}; "
        f"{num_missing} masks have to be counted. Give a cache folder that can be written, or "
        "none to count the masks in every run"
    )


def why_not_writable(folder: Path) -> OSError | None:
    """Create a folder and return the reason why it is not writable; None if it is."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Checking permissions does not suffice: the file system may be full or read-only.
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error


def _write(path: Path, counts: Mapping[bytes, Tensor]) -> None:
    """Replace a file as a whole; the old one stays intact if that fails."""
    rows = torch.stack(list(counts.values()))
    place = rows.nonzero()  # most counts are zero: store the others only
    table = {
        "keys": [key.hex() for key in counts],
        "image": place[:, 0].to(torch.int32),
        "class": place[:, 1].to(torch.int32),
        "pixels": rows[place[:, 0], place[:, 1]],
    }
    buffer = io.BytesIO()
    torch.save(table, buffer)
    body = buffer.getvalue()
    try:
        write_atomically(path, blake2b(body, digest_size=_DIGEST_SIZE).digest() + body)
    except OSError as error:
        raise CacheError(f"the class index could not be written to {path}: {error}") from error
