"""Installed fonts that have the characters of label names in any script."""

import logging
from collections.abc import Iterable
from typing import Any

from matplotlib import font_manager


logger = logging.getLogger(__name__)

# Matplotlib's own font: Latin, Greek, Cyrillic, Arabic, Hebrew, many signs, no Chinese, Japanese or Korean.
BASE_FONT = "DejaVu Sans"
PREFERRED_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "PingFang SC", "Microsoft YaHei")
MAX_SHOWN_CHARACTERS = 10


def fonts_for(texts: Iterable[str]) -> list[str]:
    """Choose font families for texts, and log one line about characters that no installed font has.

    Args:
        texts: what is to be plotted.

    Returns:
        Families in the order in which Matplotlib should ask them for a character; the first is its own font.
    """
    # The most regular font of each family comes last and overrides the others.
    installed = {font.name: font for font in sorted(font_manager.fontManager.ttflist, key=_irregularity, reverse=True)}
    families, missing = [BASE_FONT], {character for text in texts for character in text}
    missing -= _characters(installed[BASE_FONT])
    for family in sorted(installed, key=_preference):
        if not missing:
            return families
        if covered := missing & _characters(installed[family]):
            families.append(family)
            missing -= covered
    if missing:
        shown = "".join(sorted(missing)[:MAX_SHOWN_CHARACTERS]) + "…" * (len(missing) > MAX_SHOWN_CHARACTERS)
        logger.warning(
            f"No installed font has {len(missing)} characters of the label names ({shown}), so the plots show boxes. "
            "Install a font that has them, for example Noto Sans CJK (Debian: fonts-noto-cjk)."
        )
    return families


def _characters(font: font_manager.FontEntry) -> set[str]:
    # The placeholders of a font of last resort are boxes too.
    if font.name.startswith((".", "Last Resort")):
        return set()
    # With all that is known of the font, or Matplotlib logs how it differs from a regular one.
    names = ("style", "variant", "weight", "stretch")
    properties: dict[str, Any] = {"family": [font.name]} | {name: getattr(font, name) for name in names}
    try:
        path = font_manager.findfont(font_manager.FontProperties(**properties), fallback_to_default=False)
        return set(map(chr, font_manager.get_font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):  # not readable, damaged, gone
        return set()


def _irregularity(font: font_manager.FontEntry) -> tuple[bool, int]:
    weight = font_manager.weight_dict.get(str(font.weight), font.weight)
    return font.style != "normal" or font.stretch != "normal", abs(int(weight) - 400)


def _preference(family: str) -> tuple[int, str]:
    if family in PREFERRED_FONTS:
        return PREFERRED_FONTS.index(family), family
    return len(PREFERRED_FONTS) + (not family.startswith("Noto Sans")), family
