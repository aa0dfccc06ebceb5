"""Weather and time of day: how an albedo becomes a colour."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, exp, radians, sin

import numpy as np

from lossmaxpool.data.streets.noise import Floats, channels

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """The light of one scene.

    Attributes:
        zenith: colour of the sky overhead, 0..255.
        horizon: colour of the sky at the horizon, 0..255.
        ambient: share of an albedo seen in shadow.
        sun: what the sun adds on a surface that faces it.
        elevation: of the sun, in degrees.
        haze: colour that distance fades to, 0..255.
        density: of the haze, per metre.
        clouds: coverage of the sky: 0 is clear, 1 is overcast.
        lamps: whether windows and lamps are lit.
        direction: unit vector towards the sun: right, up, forward.
    """

    zenith: RGB
    horizon: RGB
    ambient: RGB
    sun: RGB
    elevation: float
    haze: RGB
    density: float
    clouds: float
    lamps: bool = False
    direction: RGB = (0.0, 1.0, 0.0)

    def on(self, normal: RGB, shadow: float = 0.0) -> Floats:
        """Light on a surface: (3, 1, 1) factors of its albedo.

        Args:
            normal: unit vector of the surface: right, up, forward.
            shadow: 0 in the sun, 1 in full shadow.
        """
        facing = sum(n * d for n, d in zip(normal, self.direction, strict=True))
        share = max(0.0, facing) * (1 - shadow)
        return channels([a + s * share for a, s in zip(self.ambient, self.sun, strict=True)])

    def fade(self, distance: float) -> float:
        """Share of the haze in what is seen at a distance in metres."""
        return 1 - exp(-self.density * distance)

    def paint(
        self, albedo: RGB, distance: float, facing: float = 0.5, shadow: float = 0.0
    ) -> tuple[int, int, int]:
        """The colour of a small surface.

        Args:
            albedo: 0..255.
            distance: in metres.
            facing: cosine between its normal and the sun, where it is sunlit.
            shadow: 0 in the sun, 1 in full shadow.
        """
        fade = self.fade(distance)
        clear, share = 1 - fade, facing * (1 - shadow)
        red, green, blue = albedo
        (ar, ag, ab), (sr, sg, sb), (hr, hg, hb) = self.ambient, self.sun, self.haze
        return (
            min(255, int(clear * red * (ar + sr * share) + fade * hr)),
            min(255, int(clear * green * (ag + sg * share) + fade * hg)),
            min(255, int(clear * blue * (ab + sb * share) + fade * hb)),
        )


_CLEAR = Light(
    zenith=(88, 142, 210),
    horizon=(190, 213, 232),
    ambient=(0.58, 0.62, 0.70),
    sun=(0.84, 0.79, 0.68),
    elevation=48,
    haze=(196, 211, 226),
    density=0.004,
    clouds=0.25,
)
_MORNING = Light(
    zenith=(120, 160, 205),
    horizon=(236, 226, 208),
    ambient=(0.56, 0.58, 0.62),
    sun=(0.72, 0.62, 0.46),
    elevation=28,
    haze=(226, 220, 208),
    density=0.013,
    clouds=0.35,
)
_GOLDEN = Light(
    zenith=(96, 128, 178),
    horizon=(252, 206, 150),
    ambient=(0.56, 0.52, 0.54),
    sun=(0.92, 0.66, 0.36),
    elevation=20,
    haze=(240, 200, 158),
    density=0.007,
    clouds=0.4,
)
_OVERCAST = Light(
    zenith=(168, 176, 186),
    horizon=(208, 211, 214),
    ambient=(0.86, 0.88, 0.90),
    sun=(0.12, 0.12, 0.12),
    elevation=60,
    haze=(200, 204, 208),
    density=0.008,
    clouds=0.9,
)
_DUSK = Light(
    zenith=(46, 60, 104),
    horizon=(214, 150, 132),
    ambient=(0.44, 0.44, 0.56),
    sun=(0.22, 0.15, 0.12),
    elevation=12,
    haze=(150, 126, 138),
    density=0.008,
    clouds=0.5,
    lamps=True,
)
_KINDS = (_CLEAR, _CLEAR, _MORNING, _GOLDEN, _OVERCAST, _OVERCAST, _DUSK)


def draw_light(rng: np.random.Generator) -> Light:
    """A weather, a time of day and a place of the sun."""
    kind = _KINDS[int(rng.random() * len(_KINDS))]
    azimuth = radians(rng.uniform(0, 360))
    up = radians(kind.elevation * rng.uniform(0.8, 1.2))
    return replace(
        kind,
        direction=(sin(azimuth) * cos(up), sin(up), cos(azimuth) * cos(up)),
        density=kind.density * rng.uniform(0.6, 1.5),
        clouds=kind.clouds * rng.uniform(0.5, 1.1),
    )
