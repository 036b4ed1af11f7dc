"""Build the subset fonts in `src/holdfast/apps/reports/render/fonts` from Debian's Noto packages.

A maintainer's script, never run by tests or at run time.  It needs fontTools and the unpacked
packages `fonts-noto-core` and `fonts-noto-cjk`:

    apt-get download fonts-noto-core fonts-noto-cjk
    for deb in *.deb; do dpkg-deb -x "$deb" noto; done
    python build_fonts.py noto/usr/share/fonts <target folder>
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools import subset, ttLib  # type: ignore[import-untyped,unused-ignore]

SERIF_SCRIPTS = (
    "Armenian Bengali Devanagari Ethiopic Georgian Gujarati Gurmukhi Kannada Khmer Lao "
    "Malayalam Myanmar Sinhala Tamil Telugu Thai"
)
# Characters of the everyday national standards: enough for nearly every name and for prose.
CJK_CODECS = {"gb2312": range(0xB0, 0xF8), "euc_jp": range(0xA1, 0xF5), "euc_kr": range(0xB0, 0xC9)}


def cjk_characters() -> set[int]:
    """Return the two-byte characters of GB 2312, JIS X 0208 and the Hangul of KS X 1001."""
    found: set[int] = set()
    for codec, rows in CJK_CODECS.items():
        for row in rows:
            for cell in range(0xA1, 0xFF):
                text = bytes((row, cell)).decode(codec, errors="ignore")
                found.update(ord(c) for c in text if ord(c) > 0x2E7F)
    return found


def write_subset(font: ttLib.TTFont, characters: set[int], target: Path, *, shaping: bool) -> None:
    """Write the glyphs of some characters, without hints and (for CJK) without OpenType layout."""
    options = subset.Options(
        hinting=False,
        desubroutinize=False,
        name_IDs=[0, 1, 2, 3, 4, 5, 6, 13, 14],
        notdef_outline=True,
    )
    if not shaping:
        options.layout_features = []
    worker = subset.Subsetter(options)
    worker.populate(unicodes=sorted(characters))
    worker.subset(font)
    font["head"].modified = font["head"].created  # two builds give equal bytes
    font.recalcTimestamp = False
    font.save(target)
    print(target.name, target.stat().st_size)  # noqa: T201


def main(source: Path, target: Path) -> None:
    """Write every shipped font file."""
    truetype = source / "truetype" / "noto"
    names = [f"NotoSerif{script}-Regular.ttf" for script in SERIF_SCRIPTS.split()]
    for name in [*names, "NotoNaskhArabic-Regular.ttf"]:
        font = ttLib.TTFont(truetype / name)
        wanted = {c for c in font.getBestCmap() if c > 0x7F}
        write_subset(font, wanted, target / name, shaping=True)
    symbols = {*range(0x2190, 0x2200), *range(0x2600, 0x27C0)}
    for name in ("NotoSansSymbols-Regular.ttf", "NotoSansSymbols2-Regular.ttf"):
        write_subset(ttLib.TTFont(truetype / name), symbols, target / name, shaping=False)
    for number in range(10):
        font = ttLib.TTFont(source / "opentype/noto/NotoSerifCJK-Regular.ttc", fontNumber=number)
        if font["name"].getDebugName(1) == "Noto Serif CJK JP":
            write_subset(font, cjk_characters(), target / "NotoSerifCJKjp-Regular.otf", shaping=False)
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
