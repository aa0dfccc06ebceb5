"""The page: what is put in comes out, in Python and in a browser; nothing of a user's is lost."""

from __future__ import annotations

import hashlib
import html
import json
import re
from base64 import b64decode, b64encode
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lossmaxpool.data import LabelSet, Sample, StreetScenes
from lossmaxpool.explorer import (
    LossMap,
    example_page,
    explorer_page,
    loss_map,
    save_page,
)
from lossmaxpool.explorer.page import MOST_PIXELS
from lossmaxpool.inference import TrainedModel
from lossmaxpool.models import ModelConfig, ModelDescription
from lossmaxpool.paper import theorems
from tests.browser import CHROMIUM, dump_dom
from tests.tolerances import IN_JAVASCRIPT

LABELS = LabelSet(("sky", "road </script>"), ((0, 0, 255), (90, 90, 90)))
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine to render the page"
)


def one_map(height: int = 6, width: int = 9, name: str = "one") -> LossMap:
    generator = torch.Generator().manual_seed(height)
    losses = torch.empty(height, width).exponential_(generator=generator).half().float()
    losses[0, :3] = -1.0
    ids = torch.randint(2, (2, height, width), generator=generator, dtype=torch.uint8)
    picture = torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)
    return LossMap(name, picture, ids[0], ids[1], losses)


def content(page: str) -> dict[str, list[dict[str, object]]]:
    found = re.search('id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def stored_losses(image: dict[str, object]) -> np.ndarray:
    return np.frombuffer(b64decode(str(image["losses"])), dtype="<f2").astype(np.float64)


def test_losses_and_ids_are_stored_as_they_are() -> None:
    one = one_map()
    (image,) = content(explorer_page([one], LABELS, source="A test."))["images"]
    assert np.array_equal(stored_losses(image), one.losses.double().flatten().numpy())
    for kind in ("truth", "prediction"):
        runs = np.array(image[kind]).reshape(-1, 2)
        assert np.array_equal(np.repeat(runs[:, 0], runs[:, 1]), getattr(one, kind).flatten())


def test_a_large_image_is_thinned_and_the_page_says_so() -> None:
    side = int(MOST_PIXELS**0.5) + 10
    one = LossMap(
        "large",
        torch.zeros(3, side, side, dtype=torch.uint8),
        *torch.zeros(2, side, side, dtype=torch.uint8),
        torch.ones(side, side),
    )
    page = explorer_page([one], LABELS, source="A test.")
    (image,) = content(page)["images"]
    assert image["height"] == image["width"] == -(-side // 2)
    assert "Of 2 rows and 2 columns, one of each is shown." in page


def test_nothing_of_a_page_is_from_elsewhere() -> None:
    page = example_page()
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=", page)


@pytest.mark.parametrize(
    ("losses", "message"),
    [(torch.full((6, 9), 1e6), "reach 1000000"), (torch.full((6, 9), torch.inf), "reach inf"),
     (torch.ones(6, 8), "expected \\(3, H, W\\)")],
)  # fmt: skip
def test_losses_that_cannot_be_shown_are_refused(losses: torch.Tensor, message: str) -> None:
    one = one_map()
    with pytest.raises(ValueError, match=message):
        explorer_page(
            [LossMap("one", one.image, one.truth, one.prediction, losses)], LABELS, source="."
        )


def test_no_image_or_an_exponent_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="no images"):
        explorer_page([], LABELS, source="A test.")
    with pytest.raises(ValueError, match="p must be a norm exponent"):
        explorer_page([one_map()], LABELS, source="A test.", p=0.5)


def test_a_file_that_is_no_such_page_is_kept(tmp_path: Path) -> None:
    page = explorer_page([one_map()], LABELS, source="A test.")
    out = save_page(page, tmp_path / "new" / "explorer.html")
    assert save_page(page, out).read_text(encoding="utf-8") == page  # its own page: again
    (tmp_path / "notes.html").write_text("mine")
    with pytest.raises(ValueError, match="not a page of the explorer"):
        save_page(page, tmp_path / "notes.html")
    assert (tmp_path / "notes.html").read_text() == "mine"
    with pytest.raises(ValueError, match="is a folder"):
        save_page(page, tmp_path)


def network(classes: int) -> TrainedModel:
    torch.manual_seed(0)
    names = tuple(map(str, range(classes)))
    description = ModelDescription(
        ModelConfig(), names, ((0, 0, 0),) * classes, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)
    )
    return TrainedModel(nn.Conv2d(3, classes, 1).eval(), description, 1, Path("last.ckpt"))


def test_a_loss_map_marks_what_has_no_label() -> None:
    sample = StreetScenes("val", 1, (32, 48))[0]
    mask = sample.mask.clone()
    mask[:5] = 255
    found = loss_map(network(12), Sample(sample.image, mask, "scene"))
    assert torch.equal(found.losses == -1, mask == 255)
    assert bool((found.losses[mask != 255] >= 0).all())
    with pytest.raises(ValueError, match="the network 3 classes"):
        loss_map(network(3), sample)


@needs_chromium
@pytest.mark.parametrize(
    ("p", "m", "pool"),
    [(1.3, 0.25, "image"), (1.0, 0.1, "batch"), (float("inf"), 0.25, "image"), (2.0, 1.0, "batch")],
)
def test_the_page_shows_the_oracle_s_numbers(p: float, m: float, pool: str, tmp_path: Path) -> None:
    page = save_page(example_page(), tmp_path / "explorer.html")
    maps = [stored_losses(image) for image in content(example_page())["images"]]
    chosen = np.concatenate(maps) if pool == "batch" else maps[1]
    losses = chosen[chosen >= 0]
    truth = theorems.solve(losses, p, max(m * losses.size, 1))
    shown = dump_dom(page, f"#p={p}&m={m}&pool={pool}&image=1")
    found = dict(re.findall(r'<dd id="(\w+)" data-value="([^"]*)"', shown))
    support = truth.weights.sum() ** 2 / (truth.weights**2).sum()
    for name, expected in (
        ("value", truth.value),
        ("mean", losses.mean()),
        ("alpha", truth.threshold),
        ("capped", truth.capped.sum()),
        ("support", support),
        ("cap", losses.size * ((1 / m) ** (1 / p) / losses.size)),
    ):
        assert float(found[name]) == pytest.approx(expected, rel=IN_JAVASCRIPT), name


PROBE = """
const violations = [];
addEventListener("securitypolicyviolation", event => violations.push(event.violatedDirective));
const pressed = key => {
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
};
const moved = (id, value) => {
  document.getElementById(id).value = value;
  document.getElementById(id).dispatchEvent(new Event("input"));
};
const tell = invalid => location.hash === "" ? setTimeout(tell, 50, invalid) :
  parent.postMessage(JSON.stringify({
    violations,
    invalid,
    address: location.hash,
    inner: innerWidth,
    scroll: document.documentElement.scrollWidth,
    classes: document.querySelectorAll("#classes .row").length,
    bars: document.querySelectorAll("#histogram rect").length,
  }), "*");
addEventListener("load", () => {
  ["2", "b"].forEach(pressed);
  moved("p", 1);
  moved("m-text", "200 %");  // out of range: refused
  const invalid = document.getElementById("m-text").getAttribute("aria-invalid");
  moved("m-text", "10 %");
  tell(invalid);
});
"""
# A browser's window is never narrower than 500 pixels; a frame may be as narrow as a phone.
HOST = """<!doctype html><body><script>
addEventListener("message", event => document.body.textContent = event.data);
</script><iframe src="probed.html" style="border:0;width:%dpx;height:900px"></iframe>"""


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_answers_keys_and_sliders(width: int, tmp_path: Path) -> None:
    digest = b64encode(hashlib.sha256(PROBE.encode()).digest()).decode()
    text = example_page().replace("script-src ", f"script-src 'sha256-{digest}' ")
    copy = text.replace("</head>", f"<script>{PROBE}</script></head>")
    (tmp_path / "probed.html").write_text(copy, encoding="utf-8")
    (tmp_path / "host.html").write_text(HOST % width, encoding="utf-8")
    body = re.search(r"<body>(.*?)</body>", dump_dom(tmp_path / "host.html"), re.DOTALL)
    assert body
    probe = json.loads(html.unescape(body[1]))
    assert probe["violations"] == []
    assert probe["inner"] == width
    assert probe["address"] == "#p=inf&m=0.1&pool=batch&image=1"
    assert probe["invalid"] == "true"
    assert probe["scroll"] <= width
    assert probe["classes"] > 5
    assert probe["bars"] > 20
