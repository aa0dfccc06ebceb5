"""Which images hold which class, and how many pixels of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor
from torch import distributed as dist
from torch.utils.data import DataLoader, Dataset

from lossmaxpool.sampling.count_cache import CountCache
from lossmaxpool.sampling.pixels import count_classes
from lossmaxpool.sampling.raw_bytes import raw_bytes


class ClassIndex:
    """For each class the images that hold it.

    Args:
        counts: (N, C) integers >= 0, pixels of each class in each of N images, as
            ``lossmaxpool.data.class_statistics(dataset).pixels`` holds them.

    Attributes:
        counts: (N, C) int64.

    Raises:
        ValueError: ``counts`` is not of that kind, or there is no image or no class.

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
        images = held.t().nonzero()[:, 1]  # class by class, ascending in each
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
        progress: Callable[[int, int], None] | None = None,
    ) -> ClassIndex:
        """Counts the classes of every mask, or reads the counts of those that are known.

        What is known is looked up by each mask's fingerprint. A fingerprint of the content, such as
        :func:`file_fingerprint`, cannot be out of date: a mask that was changed has another one,
        and is counted. Reading and hashing a file takes a small part of the time of decoding it.

        Args:
            mask: The (H, W) class ids of an image by its number: ``dataset.mask``, or
                ``lambda i: dataset[i][1]``.
            num_images: N.
            num_classes: C.
            ignore_index: Value of the pixels that belong to no class.
            fingerprint: Bytes that are equal for two masks only if the masks are equal, by number.
            cache: Folder in which counts are kept between runs; it is made where it is absent. Of
                several, such as :func:`cache_folders` names, all are read, and the first that can
                be written gets what is new. None counts every mask.
            workers: Processes that count; 0 counts in this one.
            progress: Called with (masks counted, masks to count) after each mask.

        Returns:
            The index.

        Raises:
            CacheError: No folder can be written and something has to be counted. Nothing has been
                counted yet.
            ValueError: A cache without a fingerprint, no image, a mask with ids that are no class,
                or one that changed while it was counted.
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
        store = CountCache(folders, num_classes, ignore_index)
        keys = [fingerprint(i) for i in range(num_images)]
        known = store.read()
        missing = [i for i, key in enumerate(keys) if key not in known]
        if missing:
            path = store.writable_path(len(missing))
            counted = _count(masks, missing, workers, progress)
            known |= {keys[i]: row for i, row in zip(missing, counted, strict=True)}
            # A file that is replaced in between would leave its counts under the old content.
            changed = [i for i in missing if fingerprint(i) != keys[i]]
            if changed:
                raise ValueError(
                    f"the masks of {len(changed)} images, image {changed[0]} first, changed while "
                    "they were counted: build the index once nobody writes them"
                )
            store.write(path, known)
        return cls(torch.stack([known[key] for key in keys]))

    @property
    def num_images(self) -> int:
        """N."""
        return self.counts.shape[0]

    @property
    def num_classes(self) -> int:
        """C."""
        return self.counts.shape[1]

    @property
    def absent(self) -> tuple[int, ...]:
        """The classes without any pixel."""
        return tuple(c for c, images in enumerate(self._images) if len(images) == 0)

    @property
    def present(self) -> Tensor:
        """(C,) bool, the classes with a pixel."""
        return torch.tensor([len(images) > 0 for images in self._images])

    def images(self, class_id: int) -> Tensor:
        """The images that hold a class, int64, ascending."""
        return self._images[class_id]

    @property
    def digest(self) -> str:
        """A hash of the counts: two indices of the same data have the same one."""
        shape = str(tuple(self.counts.shape)).encode()
        return blake2b(raw_bytes(self.counts), digest_size=16, key=shape).hexdigest()

    def __repr__(self) -> str:
        absent = f", without a pixel: {self.absent}" if self.absent else ""
        return (
            f"ClassIndex({self.num_images} images, {self.num_classes} classes, "
            f"{int(self.counts.sum()):,} labeled pixels{absent})"
        )

    def check_ranks(self) -> None:
        """Compares the index with those of the other ranks of the default process group.

        Every rank must call it; where there is no group it does nothing.

        Raises:
            ValueError: Ranks see different data. All of them raise.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return
        digests: list[str] = [""] * dist.get_world_size()
        dist.all_gather_object(digests, self.digest)
        different = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
        if different:
            raise ValueError(
                f"the ranks {', '.join(map(str, different))} see other masks than rank 0: "
                "give every node the same data set, in the same state"
            )


class _Counts(Dataset[Tensor | ValueError]):
    """The counts of one mask by its number, for a loader with workers.

    What is wrong with a mask is handed over, not raised: a worker's trace would bury the sentence.
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
    masks: _Counts,
    numbers: Sequence[int],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Tensor]:
    loader = DataLoader(
        masks,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        # A generator of its own: a loader would otherwise draw from the global one.
        generator=torch.Generator(),
    )
    for done, row in enumerate(loader, start=1):
        if isinstance(row, ValueError):
            raise row
        # A copy: what comes from a worker holds a file descriptor open.
        yield row.clone()
        if progress is not None:
            progress(done, len(numbers))
