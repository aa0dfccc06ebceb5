"""Contract of the installed package: only torch required, fast import, types, one version."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

import lossmaxpool

ROOT = Path(__file__).resolve().parents[1]
# Of each kind of file that the package reads at run time, one that must not be left out.
READ = {
    "py.typed",
    "runs/losses.yaml",
    "runs/recipes/voc.yaml",
    "report/page.html",
    "report/page.css",
    "report/page.js",
    "explorer/page.html",
    "explorer/page.css",
    "explorer/mathematics.js",
    "explorer/example.json",
    "ops/backends/native/cpp/solve.cpp",
    "ops/backends/native/cpp/kernels.h",
}

# Measured: 0.03.
SHARE_OF_TORCH = 0.2
REPEATS = 3

# Distributions that only the extras bring. None in sys.modules makes an import fail.
BLOCKED = (
    "numpy",
    "torchvision",
    "timm",
    "segmentation_models_pytorch",
    "lightning",
    "jsonargparse",
    "rich",
    "tensorboard",
    "matplotlib",
    "PIL",
    "safetensors",
    "scipy",
    "yaml",
    "pydantic",
    "pydantic_core",
    "jinja2",
    "markupsafe",
    "adjustText",
    "huggingface_hub",
    "ray",
    "onnx",
    "onnxruntime",
    "triton",
)


def python(code: str) -> str:
    """The output of a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_brings_nothing_beyond_torch() -> None:
    code = """
import sys, torch
before = set(sys.modules)
import lossmaxpool
[getattr(lossmaxpool, name) for name in lossmaxpool.__all__ if name != "paper"]
print(*{name.split(".")[0] for name in set(sys.modules) - before})
"""
    fresh = set(python(code).split()) - set(sys.stdlib_module_names)
    # Modules of torch that it loads late are torch's own.
    assert fresh - {"torch"} == {"lossmaxpool"}


def test_losses_run_where_torch_is_all_there_is() -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys({BLOCKED!r}))
import torch, lossmaxpool
logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
lossmaxpool.MaxPoolingCrossEntropyLoss()(logits, torch.zeros(1, 4, 4).long()).backward()
print(logits.grad is not None)
"""
    assert python(code).strip() == "True"


def test_import_costs_little_more_than_torch() -> None:
    code = """
import time
begin = time.process_time()
import torch
middle = time.process_time()
import lossmaxpool
lossmaxpool.solve
print((time.process_time() - middle) / (middle - begin))
"""
    # Of the same process, and the best of a few: a busy machine slows both parts.
    assert min(float(python(code)) for _ in range(REPEATS)) < SHARE_OF_TORCH


def test_paper_is_loaded_when_it_is_asked_for() -> None:
    code = """
import sys, lossmaxpool
print("lossmaxpool.paper" in sys.modules, lossmaxpool.paper.algorithm1.__name__)
"""
    assert python(code).split() == ["False", "lossmaxpool.paper.algorithm1"]


def test_torch_is_loaded_with_the_first_name_that_is_used() -> None:
    code = """
import sys, lossmaxpool
before = "torch" in sys.modules
names = set(dir(lossmaxpool))
print(before, names >= {*lossmaxpool.__all__, "functional"}, "torch" in sys.modules)
print(lossmaxpool.losses.MaxPoolingLoss is lossmaxpool.MaxPoolingLoss)
print(hasattr(lossmaxpool, "no_such_name"))
"""
    assert python(code).split() == ["False", "True", "False", "True", "False"]


def test_a_star_import_brings_every_public_name() -> None:
    found: dict[str, object] = {}
    exec("from lossmaxpool import *", found)
    assert found.keys() >= set(lossmaxpool.__all__)
    assert found["solve"] is lossmaxpool.functional.solve


def test_a_name_that_is_first_used_under_compilation_is_found() -> None:
    code = """
import torch, lossmaxpool
loss = torch.compile(lambda x: lossmaxpool.loss_max_pool(x), fullgraph=True, backend="eager")
print(loss(torch.ones(1, 4)).item())
"""
    assert float(python(code)) == 1.0


def test_types_ship() -> None:
    assert resources.files("lossmaxpool").joinpath("py.typed").is_file()


def test_a_wheel_holds_the_whole_package_and_nothing_else() -> None:
    reason = "hatchling, of the extra dev, is not installed"
    wheel = pytest.importorskip("hatchling.builders.wheel", reason=reason)
    builder = wheel.WheelBuilder(str(ROOT))
    held = {file.distribution_path for file in builder.recurse_included_files()}
    kinds = {Path(name).suffix for name in READ} | {".py"}
    package = ROOT / "src" / "lossmaxpool"
    own = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert own >= READ
    wanted = {f"lossmaxpool/{name}" for name in own if Path(name).suffix in kinds}
    assert not wanted - held
    # No tests, benchmarks, reproduction or build script, whose names others could have too.
    assert not [name for name in held if not name.startswith("lossmaxpool/")]


def test_version_is_that_of_the_distribution() -> None:
    assert lossmaxpool.__version__ == metadata.version("lossmaxpool")


def test_torch_is_the_only_hard_dependency() -> None:
    required = metadata.requires("lossmaxpool") or []
    # An editable install, and no wheel, also names what redirects its imports.
    editable = "editables"
    hard = [line for line in required if "extra ==" not in line and not line.startswith(editable)]
    assert [line.split(">")[0] for line in hard] == ["torch"]
