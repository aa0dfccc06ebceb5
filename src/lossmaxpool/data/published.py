"""The published data sets, one reader each: where the files are, and the class of each id.

Every reader names its classes (``LABELS``) and the published number of images of each split
(``SPLITS``); for an unknown split, a wrong root, and missing images or masks it raises DataError.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, get_args

from lossmaxpool.data.decode import palette_color
from lossmaxpool.data.files import (
    FileDataset,
    FilePair,
    Series,
    find_root,
    pair_up,
    read_listing,
)
from lossmaxpool.data.sample import IGNORE_INDEX, DataError, LabelSet, check_choice
from lossmaxpool.options import VistasVersion

CITYSCAPES_LABEL_IDS = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17,
    "traffic light": 19, "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23,
    "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31, "motorcycle": 32,
    "bicycle": 33,
}  # fmt: skip
"""The id in ``*_labelIds.png`` of each class that counts, in the order of the train ids 0..18."""

_SCENE_FOLDERS = {"train": "training", "val": "validation"}  # of ADE20K and Mapillary Vistas

# The first of each class's synonyms, and the colors of the scene parsing benchmark.
_ADE20K = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk,
person, earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf,
house, sea, mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub,
railing, cushion, base, box, column, signboard, chest of drawers, counter, sand, sink, skyscraper,
fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table, pillow, screen door,
stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench,
countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel,
bus, towel, light, truck, tower, chandelier, awning, streetlight, booth, television receiver,
airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster,
stage, van, ship, fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool,
barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name,
microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase,
traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower,
radiator, glass, clock, flag
"""
_ADE20K_COLORS = """
787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d
787846 08ff33 ff0652 8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0
0907e6 dcdcdc ff095c 7009ff 08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06
ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00 1fff00
ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff 0bc8c8 ff5200 00fff5 003dff 00ff70
00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad 0a00ff adff00 00ff99
ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2 00ff52
000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00
08b8aa 8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff
9900ff 47ff00 ff00a3 ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00
00ccff 1400ff ffff00 0099ff 0029ff 00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8
005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
"""
# All 182 names in the order of their ids in the pixel maps, 0..181.
_COCO = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
street sign, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear,
zebra, giraffe, hat, backpack, umbrella, shoe, eye glasses, handbag, tie, suitcase, frisbee, skis,
snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket,
bottle, plate, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, mirror, dining
table, window, desk, toilet, door, tv, laptop, mouse, remote, keyboard, cell phone, microwave,
oven, toaster, sink, refrigerator, blender, book, clock, vase, scissors, teddy bear, hair drier,
toothbrush, hair brush, banner, blanket, branch, bridge, building-other, bush, cabinet, cage,
cardboard, carpet, ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard,
curtain, desk-stuff, dirt, door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile,
floor-wood, flower, fog, food-other, fruit, furniture-other, grass, gravel, ground-other, hill,
house, leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement,
pillow, plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof,
rug, salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw,
structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete,
wall-other, wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind,
window-other, wood
"""
# COCO names that never occur in the masks; 171 classes remain.
_COCO_WITHOUT_PIXELS = {
    "street sign", "hat", "shoe", "eye glasses", "plate", "mirror", "window", "desk", "door",
    "blender", "hair brush",
}  # fmt: skip


def _names(text: str) -> tuple[str, ...]:
    return tuple(" ".join(name.split()) for name in text.split(","))


def _color(digits: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


_COCO_CLASSES = {
    file_id: name for file_id, name in enumerate(_names(_COCO)) if name not in _COCO_WITHOUT_PIXELS
}

_CAMVID_VOID = 11
_CAMVID_SPLITS: dict[str, tuple[str, tuple[str, ...]]] = {
    "train": ("train", ()),
    "val": ("val", ()),
    "sequence-train": ("train", ("0006R0", "0016E5")),
    "sequence-val": ("train", ("0001TP",)),
}
"""Folder and sequences (all where none is named) of each split."""
_CAMVID_EXPECTED = "train/, trainannot/, val/ and valannot/ there (the SegNet preparation)"


class CamVid(FileDataset):
    """CamVid in the SegNet preparation: 11 classes, 480x360.

    Frames of ``<root>/<folder>/*.png`` with ids in ``<root>/<folder>annot/*.png``.

    The val frames are close to train frames of the same drive, so scores on "val" are optimistic.
    The splits "sequence-train" (drives 0006R0 and 0016E5) and "sequence-val" (drive 0001TP), both
    taken from the train folder, hold out a whole drive.

    Args:
        root: the folder that holds ``train``, ``trainannot``, ``val`` and ``valannot``.
        split: "train", "val", "sequence-train" or "sequence-val".

    Raises:
        DataError: for an unknown split, a wrong root, an empty folder, or missing images or masks.

    References:
        Brostow et al. 2009, "Semantic object classes in video: a high-definition ground truth
        database"; Badrinarayanan et al. 2017, "SegNet" (the 11 classes and the folder layout).
    """

    LABELS: ClassVar = LabelSet(
        names=(
            "sky", "building", "pole", "road", "pavement", "tree",
            "sign_symbol", "fence", "car", "pedestrian", "bicyclist",
        ),
        colors=(
            (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222),
            (128, 128, 0), (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
        ),
    )  # fmt: skip
    SPLITS: ClassVar = {"train": 367, "val": 101, "sequence-train": 305, "sequence-val": 62}

    def __init__(self, root: Path, split: str) -> None:
        check_choice("split of CamVid", split, self.SPLITS)
        name = f"camvid/{split}"
        folder, sequences = _CAMVID_SPLITS[split]
        root = find_root(root, "CamVid", (folder, f"{folder}annot"), _CAMVID_EXPECTED)
        images, masks = Series(root / folder, ".png"), Series(root / f"{folder}annot", ".png")
        there = images.stems() | masks.stems()
        stems = {stem for stem in there if not sequences or stem.startswith(sequences)}
        if there and not stems:
            raise DataError(
                f"There are no frames of {' or '.join(sequences)} in {images.folder}, which split "
                f"'{split}' needs."
            )
        pairs = pair_up(name, images, masks, stems, self.SPLITS[split])
        ids = {i: i for i in range(self.LABELS.num_classes)} | {_CAMVID_VOID: IGNORE_INDEX}
        super().__init__(name, self.LABELS, pairs, ids)


_LAST_CITYSCAPES_ID = 33
_CITYSCAPES_EXPECTED = (
    "leftImg8bit/<split>/<city>/*_leftImg8bit.png and gtFine/<split>/<city>/*_gtFine_labelIds.png "
    "there"
)


class Cityscapes(FileDataset):
    """Cityscapes, fine annotations: streets of 50 cities, 19 classes, 2048x1024.

    ``*_labelIds.png`` are read and mapped on the fly. If a split has none of them, the optional
    ``*_labelTrainIds.png`` are read; both hold the same classes. The masks of "test" are not
    public: all its pixels are unlabeled.

    Args:
        root: the folder that holds ``leftImg8bit`` and ``gtFine``.
        split: "train", "val" or "test".

    References:
        Cordts et al. 2016, "The Cityscapes dataset for semantic urban scene understanding".
    """

    LABELS: ClassVar = LabelSet(
        names=tuple(CITYSCAPES_LABEL_IDS),
        colors=(
            (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153),
            (153, 153, 153), (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152),
            (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100),
            (0, 80, 100), (0, 0, 230), (119, 11, 32),
        ),
    )  # fmt: skip
    SPLITS: ClassVar = {"train": 2975, "val": 500, "test": 1525}

    def __init__(self, root: Path, split: str) -> None:
        check_choice("split of Cityscapes", split, self.SPLITS)
        name = f"cityscapes/{split}"
        needed = (f"leftImg8bit/{split}", f"gtFine/{split}")
        root = find_root(root, "Cityscapes", needed, _CITYSCAPES_EXPECTED)
        images = Series(root / "leftImg8bit" / split, "_leftImg8bit.png")
        masks = Series(root / "gtFine" / split, "_gtFine_labelIds.png")
        ids = dict.fromkeys(range(_LAST_CITYSCAPES_ID + 1), IGNORE_INDEX)
        ids |= {label_id: c for c, label_id in enumerate(CITYSCAPES_LABEL_IDS.values())}
        train_ids = Series(masks.folder, "_gtFine_labelTrainIds.png")
        if not masks.stems() and train_ids.stems():
            masks = train_ids
            ids = {c: c for c in range(self.LABELS.num_classes)} | {255: IGNORE_INDEX}
        pairs = pair_up(name, images, masks, published=self.SPLITS[split])
        super().__init__(name, self.LABELS, pairs, ids)


_VISTAS_EXPECTED = (
    "training/images/*.jpg, validation/images/*.jpg and, beside the images, labels/*.png (with "
    "config.json), v1.2/labels/*.png (with config_v1.2.json) or v2.0/labels/*.png (with "
    "config_v2.0.json) there"
)


class MapillaryVistas(FileDataset):
    """Mapillary Vistas: street scenes from everywhere, in the labels of version 1.2 or 2.0.

    The classes are the labels that the download's config file marks as evaluated (65 of the 66 of
    v1.2), in its order; the others are unlabeled. The test split has no public masks.

    Args:
        root: the folder that holds ``training``, ``validation`` and the config file.
        split: "train" or "val".
        version: of the labels, "v1.2" or "v2.0".

    Raises:
        DataError: for an unknown split or version, a wrong root, a malformed config file, or
            missing images or masks.

    References:
        Neuhold et al. 2017, "The Mapillary Vistas dataset for semantic understanding of street
        scenes".
    """

    SPLITS: ClassVar = {"train": 18_000, "val": 2_000}

    def __init__(self, root: Path, split: str, version: VistasVersion = "v1.2") -> None:
        check_choice("split of Mapillary Vistas", split, self.SPLITS)
        check_choice("version of Mapillary Vistas", version, get_args(VistasVersion))
        name = f"mapillary-vistas-{version}/{split}"
        folder = _SCENE_FOLDERS[split]
        root = find_root(root, "Mapillary Vistas", (f"{folder}/images",), _VISTAS_EXPECTED)
        config, labels_folder = root / f"config_{version}.json", f"{version}/labels"
        if version == "v1.2" and not config.is_file():
            # The version 1 download has no version subfolders.
            config, labels_folder = root / "config.json", "labels"
        labels, ids = _vistas_classes(config)
        images = Series(root / folder / "images", ".jpg")
        masks = Series(root / folder / labels_folder, ".png")
        pairs = pair_up(name, images, masks, published=self.SPLITS[split])
        super().__init__(name, labels, pairs, ids)


def _vistas_classes(path: Path) -> tuple[LabelSet, dict[int, int]]:
    """The evaluated labels, and file id -> class id."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["labels"]
        evaluated = [i for i, entry in enumerate(entries) if entry["evaluate"]]
        labels = LabelSet(
            tuple(str(entries[i]["readable"]) for i in evaluated),
            tuple((*map(int, entries[i]["color"]),) for i in evaluated),  # type: ignore[misc]
        )
    except OSError as error:
        raise DataError(
            f"The list of labels {path} cannot be read: {error}. Expected {_VISTAS_EXPECTED}."
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not a list of Mapillary Vistas' labels ({error!r}): it must hold "
            '{"labels": [{"readable": ..., "evaluate": ..., "color": [r, g, b]}, ...]}.'
        ) from error
    ids = dict.fromkeys(range(len(entries)), IGNORE_INDEX)
    ids |= {label: c for c, label in enumerate(evaluated)}
    return labels, ids


_ADE20K_EXPECTED = (
    "images/<folder>/*.jpg and annotations/<folder>/*.png there, with the folders 'training' and "
    "'validation', or the same in ADEChallengeData2016/"
)


class ADE20K(FileDataset):
    """ADE20K's scene parsing edition (``ADEChallengeData2016``): 150 classes.

    The masks hold 0 for pixels of other classes, which become unlabeled, and 1..150, which become
    0..149.

    Args:
        root: the folder that holds ``images`` and ``annotations``, or ``ADEChallengeData2016``.
        split: "train" or "val".

    References:
        Zhou et al. 2017, "Scene parsing through ADE20K dataset".
    """

    LABELS: ClassVar = LabelSet(_names(_ADE20K), tuple(map(_color, _ADE20K_COLORS.split())))
    SPLITS: ClassVar = {"train": 20_210, "val": 2_000}

    def __init__(self, root: Path, split: str) -> None:
        check_choice("split of ADE20K", split, self.SPLITS)
        name, folder = f"ade20k/{split}", _SCENE_FOLDERS[split]
        needed = (f"images/{folder}", f"annotations/{folder}")
        root = find_root(root, "ADE20K", needed, _ADE20K_EXPECTED, ("ADEChallengeData2016",))
        images = Series(root / "images" / folder, ".jpg")
        masks = Series(root / "annotations" / folder, ".png")
        pairs = pair_up(name, images, masks, published=self.SPLITS[split])
        ids = {0: IGNORE_INDEX} | {c + 1: c for c in range(self.LABELS.num_classes)}
        super().__init__(name, self.LABELS, pairs, ids)


_COCO_MASKS = ("annotations", "stuffthingmaps")
_COCO_EXPECTED = (
    "images/train2017/*.jpg, images/val2017/*.jpg and the pixel maps (stuffthingmaps_trainval2017) "
    "as annotations/train2017/*.png and annotations/val2017/*.png there ('stuffthingmaps' may "
    "stand for 'annotations')"
)
_COCO_CONVERTED = "_labelTrainIds"


class COCOStuff(FileDataset):
    """COCO-Stuff of 164k images, 171 classes of things and stuff, from its pixel maps.

    The maps hold 0..181 and 255 for unlabeled; 11 of the ids never occur, and the other 171
    become 0..170. Converted copies made by other tools (``*_labelTrainIds.png``) are skipped.

    Args:
        root: the folder that holds ``images`` and ``annotations``.
        split: "train" or "val".

    References:
        Caesar et al. 2018, "COCO-Stuff: thing and stuff classes in context".
    """

    # COCO-Stuff does not publish colors: use Pascal VOC's distinct ones, without black.
    LABELS: ClassVar = LabelSet(
        names=tuple(_COCO_CLASSES.values()),
        colors=tuple(palette_color(file_id + 1) for file_id in _COCO_CLASSES),
    )
    SPLITS: ClassVar = {"train": 118_287, "val": 5_000}

    def __init__(self, root: Path, split: str) -> None:
        check_choice("split of COCO-Stuff", split, self.SPLITS)
        name, folder = f"coco-stuff/{split}", f"{split}2017"
        root = Path(root)
        there = (maps for maps in _COCO_MASKS if (root / maps / folder).is_dir())
        maps = next(there, _COCO_MASKS[0])
        root = find_root(
            root, "COCO-Stuff", (f"images/{folder}", f"{maps}/{folder}"), _COCO_EXPECTED
        )
        images = Series(root / "images" / folder, ".jpg")
        masks = Series(root / maps / folder, ".png")
        mapped = {stem for stem in masks.stems() if not stem.endswith(_COCO_CONVERTED)}
        pairs = pair_up(name, images, masks, images.stems() | mapped, self.SPLITS[split])
        ids = {file_id: c for c, file_id in enumerate(_COCO_CLASSES)} | {255: IGNORE_INDEX}
        super().__init__(name, self.LABELS, pairs, ids)


_VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
_VOC_EXPECTED = (
    "JPEGImages/*.jpg, SegmentationClass/*.png and ImageSets/Segmentation/<split>.txt there, in "
    "VOC2012/ or in VOCdevkit/VOC2012/"
)
_SBD_EXPECTED = (
    "cls/*.mat, train.txt and val.txt there, in dataset/ or in benchmark_RELEASE/dataset/"
)


class PascalVOC(FileDataset):
    """Pascal VOC 2012: 20 object classes and the background; contours are unlabeled.

    "train_aug" is the usual set of 10,582 training images: VOC's train, SBD's train and SBD's
    val, without VOC's val. VOC's own masks are used for VOC's 1,464 images. The others come from
    SBD's MATLAB files where ``sbd`` is given, else from the folder ``SegmentationClassAug``, which
    holds the same masks as PNG files. Any other number of images is an error.

    Args:
        root: the folder that holds ``JPEGImages``, or ``VOC2012``, or ``VOCdevkit/VOC2012``.
        split: "train", "val", "trainval" or "train_aug".
        sbd: for "train_aug", the folder of SBD (``benchmark_RELEASE``, or its ``dataset``).

    Raises:
        DataError: for an unknown split, a wrong root, missing images or masks, or a "train_aug"
            that does not have its 10,582 images.

    References:
        Everingham et al. 2015, "The Pascal visual object classes challenge: a retrospective";
        Hariharan et al. 2011, "Semantic contours from inverse detectors" (SBD).
    """

    LABELS: ClassVar = LabelSet(_VOC, tuple(map(palette_color, range(len(_VOC)))))
    SPLITS: ClassVar = {"train": 1464, "val": 1449, "trainval": 2913, "train_aug": 10_582}

    def __init__(self, root: Path, split: str, sbd: Path | None = None) -> None:
        check_choice("split of Pascal VOC", split, self.SPLITS)
        name = f"voc/{split}"
        needed = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")
        inside = ("VOC2012", "VOCdevkit/VOC2012")
        root = find_root(root, "Pascal VOC 2012", needed, _VOC_EXPECTED, inside)
        if split == "train_aug":
            pairs = _voc_augmented(name, root, sbd)
        else:
            pairs = _voc_own(name, root, split, self.SPLITS[split])
        ids = {c: c for c in range(self.LABELS.num_classes)} | {255: IGNORE_INDEX}
        super().__init__(name, self.LABELS, pairs, ids)


def _voc_listed(root: Path, split: str) -> list[str]:
    return read_listing(root / "ImageSets" / "Segmentation" / f"{split}.txt")


def _voc_images(root: Path) -> Series:
    return Series(root / "JPEGImages", ".jpg")


def _voc_own(name: str, root: Path, split: str, published: int | None = None) -> list[FilePair]:
    masks = Series(root / "SegmentationClass", ".png")
    return pair_up(name, _voc_images(root), masks, _voc_listed(root, split), published)


def _voc_augmented(name: str, root: Path, sbd: Path | None) -> list[FilePair]:
    train, val = set(_voc_listed(root, "train")), set(_voc_listed(root, "val"))
    masks, annotated = _sbd_masks(root, sbd)
    others = annotated - train - val
    count, expected = len(train | others), PascalVOC.SPLITS["train_aug"]
    if count != expected:
        raise DataError(
            f"{name} must have {expected:,} images, but here it has {count:,}: {len(train):,} of "
            f"VOC's train and {len(others):,} of the {len(annotated):,} in {masks.folder} that are "
            f"in neither VOC's train nor its val ({len(val):,}). Are the lists and the masks whole?"
        )
    pairs = _voc_own(name, root, "train") + pair_up(name, _voc_images(root), masks, others)
    return sorted(pairs, key=lambda pair: pair.name)


def _sbd_masks(root: Path, sbd: Path | None) -> tuple[Series, set[str]]:
    """The masks of SBD and the names of their images."""
    if sbd is not None:
        inside = ("dataset", "benchmark_RELEASE/dataset")
        folder = find_root(sbd, "SBD", ("cls",), _SBD_EXPECTED, inside)
        names = {
            stem for split in ("train", "val") for stem in read_listing(folder / f"{split}.txt")
        }
        return Series(folder / "cls", ".mat"), names
    masks = Series(root / "SegmentationClassAug", ".png")
    if not masks.folder.is_dir():
        raise DataError(
            f"'train_aug' needs the masks of SBD: give its folder (--data.sbd, with {_SBD_EXPECTED}"
            f"), or put them as PNG files into {masks.folder}."
        )
    return masks, masks.stems()
