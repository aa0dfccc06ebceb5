"""COCO-Stuff: the 2017 images of COCO with things and stuff, 171 classes.

References:
    Caesar et al. 2018, "COCO-Stuff: thing and stuff classes in context".
"""

from __future__ import annotations

from pathlib import Path

from lossmaxpool.data.decode import palette_color
from lossmaxpool.data.files import FileDataset, Series, find_root, pair_up
from lossmaxpool.data.sample import IGNORE_INDEX, LabelSet, check_choice

# All 182 names in the order of their ids in the pixel maps, 0..181.
_NAMES = """
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
_WITHOUT_PIXELS = {
    "street sign", "hat", "shoe", "eye glasses", "plate", "mirror", "window", "desk", "door",
    "blender", "hair brush",
}  # fmt: skip
_CLASS_OF_ID = {
    file_id: name
    for file_id, name in enumerate(" ".join(name.split()) for name in _NAMES.split(","))
    if name not in _WITHOUT_PIXELS
}
# COCO-Stuff does not publish colors: use Pascal VOC's distinct ones, without black.
LABELS = LabelSet(
    names=tuple(_CLASS_OF_ID.values()),
    colors=tuple(palette_color(file_id + 1) for file_id in _CLASS_OF_ID),
)
SPLITS = {"train": 118_287, "val": 5_000}
"""Published number of images of each split."""

_MASK_FOLDERS = ("annotations", "stuffthingmaps")
_EXPECTED = (
    "images/train2017/*.jpg, images/val2017/*.jpg and the pixel maps (stuffthingmaps_trainval2017) "
    "as annotations/train2017/*.png and annotations/val2017/*.png there ('stuffthingmaps' may "
    "stand for 'annotations')"
)
_CONVERTED = "_labelTrainIds"


class COCOStuff(FileDataset):
    """COCO-Stuff of 164k images, from its pixel maps.

    The maps hold 0..181 and 255 for unlabeled; 11 of the ids never occur, and the other 171
    become 0..170. Converted copies made by other tools (``*_labelTrainIds.png``) are skipped.

    Args:
        root: the folder that holds ``images`` and ``annotations``.
        split: "train" or "val".

    Raises:
        DataError: for an unknown split, a wrong root, or missing images or masks.
    """

    def __init__(self, root: Path, split: str) -> None:
        check_choice("split of COCO-Stuff", split, SPLITS)
        name, folder = f"coco-stuff/{split}", f"{split}2017"
        root = Path(root)
        there = (maps for maps in _MASK_FOLDERS if (root / maps / folder).is_dir())
        maps = next(there, _MASK_FOLDERS[0])
        root = find_root(root, "COCO-Stuff", (f"images/{folder}", f"{maps}/{folder}"), _EXPECTED)
        images = Series(root / "images" / folder, ".jpg")
        masks = Series(root / maps / folder, ".png")
        mapped = {stem for stem in masks.stems() if not stem.endswith(_CONVERTED)}
        pairs = pair_up(name, images, masks, images.stems() | mapped, SPLITS[split])
        ids = {file_id: c for c, file_id in enumerate(_CLASS_OF_ID)} | {255: IGNORE_INDEX}
        super().__init__(name, LABELS, pairs, ids)
